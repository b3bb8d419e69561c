"""The table of verdicts: one row for each REES file, and nothing dropped in silence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reespack.errors import RepositoryError
from reespack.model import FileVerdict, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reespack.model import Repository

__all__ = ["VerdictTable"]


@dataclass(slots=True, eq=False, repr=False)
class VerdictTable:
    """Verdicts by path. The first one on a path stays, so the order of putting is precedence."""

    _found: dict[str, tuple[Verdict, str, str]] = field(default_factory=dict)

    def put(self, path: str, verdict: Verdict, reason: str, buildpack: str) -> bool:
        """Put a verdict, unless there is one already; say whether it was put."""
        if path in self._found:
            return False
        self._found[path] = (verdict, reason, buildpack)
        return True

    def has(self, verdict: Verdict) -> bool:
        """Say whether some file has this verdict."""
        return any(found == verdict for found, _, _ in self._found.values())

    def put_leftovers(self, present: Mapping[str, str], repository: Repository) -> None:
        """Put the files that nobody claimed, with the reason that follows from their place."""
        folder = repository.config_folder
        for path, buildpack in present.items():
            inside = not folder or path.startswith(f"{folder}/")
            reason = "has no effect here" if inside else f"only the files in {folder}/ count"
            self.put(path, Verdict.IGNORED, reason, buildpack)

    def rows(self, repository: Repository) -> tuple[FileVerdict, ...]:
        """Return the table by verdict (used first) and path, with the digest of each file."""
        order = list(Verdict)
        rows = sorted(self._found.items(), key=lambda item: (order.index(item[1][0]), item[0]))
        return tuple(
            FileVerdict(
                path=path,
                verdict=verdict,
                reason=reason,
                buildpack=buildpack,
                sha256=_sha256(repository, path),
            )
            for path, (verdict, reason, buildpack) in rows
        )


def _sha256(repository: Repository, path: str) -> str | None:
    """Return a file's digest, or None for an ignored one that cannot be read or lies outside."""
    try:
        return hashlib.sha256(repository.resolve(path).read_bytes()).hexdigest()
    except (OSError, RepositoryError):
        return None
