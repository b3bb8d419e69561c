"""What a catalog says: the environments of a site, and who gets which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.value import Value

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Catalog", "Entry", "Source"]


class Source(Value):
    """A repository that an archive is built from when there is none yet."""

    repository: str
    ref: str


class Entry(Value):
    """An environment that users may choose.

    Either `archive` or `source` is given. No `groups`: everybody may use it. `resources` are pairs
    of a batch system's terms (`nprocs`, `memory`, `runtime`, ...), the catalog's defaults included;
    `variables` are set in the job; `prologue` is shell, run in the job before anything else.
    """

    name: str
    title: str
    description: str
    archive: Path | None
    source: Source | None
    groups: tuple[str, ...]
    resources: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...]
    prologue: str

    def allows(self, groups: frozenset[str]) -> bool:
        """Say whether a user who is in `groups` may have it."""
        return not self.groups or not groups.isdisjoint(self.groups)


class Catalog(Value):
    """All environments, in the order of the file; `default` is the one chosen beforehand."""

    path: Path
    title: str
    default: str | None
    entries: tuple[Entry, ...]

    def allowed(self, groups: frozenset[str]) -> tuple[Entry, ...]:
        """Return what a user who is in `groups` may have."""
        return tuple(entry for entry in self.entries if entry.allows(groups))

    def default_of(self, entries: tuple[Entry, ...]) -> Entry | None:
        """Return the one of `entries` that is chosen beforehand: the default, else the first."""
        named = (entry for entry in entries if entry.name == self.default)
        return next(named, entries[0] if entries else None)
