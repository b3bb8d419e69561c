"""What is pinned: a lock, and the packages in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reespack.value import Value

if TYPE_CHECKING:
    from reespack.model import Note

__all__ = ["Lock", "LockedConda", "LockedPip", "PlatformLock"]


class LockedConda(Value):
    """One conda package, pinned to its file. `depends` are match specs as in repodata."""

    name: str
    version: str
    build: str
    url: str
    sha256: str | None
    md5: str | None
    depends: tuple[str, ...] = ()


class LockedPip(Value):
    """One Python distribution from outside the channels, pinned.

    `kind` says what `url` is: a wheel or an sdist (with `sha256`), `git` (`git+https://...@commit`)
    or `project` (a path inside the repository, built as a wheel). `depends` are (name, specifier).
    `overrides` marks a distribution that takes the place of a conda package's.
    """

    name: str
    version: str
    url: str
    kind: Literal["wheel", "sdist", "git", "project"]
    sha256: str | None = None
    depends: tuple[tuple[str, str], ...] = ()
    overrides: bool = False


class PlatformLock(Value):
    """Everything that is pinned for one platform, in each half dependencies first."""

    platform: str
    conda: tuple[LockedConda, ...]
    pip: tuple[LockedPip, ...] = ()


class Lock(Value):
    """A lockfile in conda-lock's v1 format: `text` is the file, `platforms` what it says.

    `digest` is the sha256 of `text`. `given` says that the repository brought it.
    `virtual_packages` are (name, version, build) that the solve assumed, per platform.
    """

    text: str
    digest: str
    platforms: tuple[PlatformLock, ...]
    given: bool = False
    virtual_packages: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = ()
    notes: tuple[Note, ...] = ()

    def for_platform(self, platform: str) -> PlatformLock | None:
        """Return what is pinned for `platform`, or None."""
        return next((lock for lock in self.platforms if lock.platform == platform), None)
