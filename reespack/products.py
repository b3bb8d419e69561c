"""The values that a build makes, one for each arrow of the pipeline's second half.

    (Repository -> Detection -> EnvironmentSpec: reespack.model ->) Lock -> Prefix -> Archive

They are as those of reespack.model are: frozen, compared by value. What ends before it makes
anything does not wait for these to be imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import Note

__all__ = [
    "Archive",
    "Bytecode",
    "FileChange",
    "Kernelspec",
    "Lock",
    "LockedConda",
    "LockedPip",
    "PackedFrame",
    "PlatformLock",
    "Prefix",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedConda:
    """One conda package, pinned to its file. `depends` are match specs as in repodata."""

    name: str
    version: str
    build: str
    url: str
    sha256: str | None
    md5: str | None
    depends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPip:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLock:
    """Everything that is pinned for one platform, in each half dependencies first."""

    platform: str
    conda: tuple[LockedConda, ...]
    pip: tuple[LockedPip, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file in the prefix that is not as its package brought it; `by` says who did it."""

    path: str
    change: Literal["added", "changed", "deleted"]
    by: Literal["pip", "postBuild"]
    package: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """An installed environment at its build folder, and what happened to it on the way.

    `wheels` are the distributions that pip's half installed, with the sha256 of the very wheel
    (for sdists, git and projects: of the wheel built from it). `changes` are files that are not
    as their conda package brought them, and all that postBuild did; `leftovers` what postBuild
    left in its scratch HOME.
    """

    path: Path
    lock: PlatformLock
    wheels: tuple[LockedPip, ...] = ()
    changes: tuple[FileChange, ...] = ()
    leftovers: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernelspec:
    """A kernelspec in an environment: `name` is its folder's, `path` that folder in the prefix."""

    name: str
    display_name: str
    language: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytecode:
    """What was compiled from one Python source of a prefix.

    `path` is where it belongs in the prefix, `source` the file it was compiled from and
    `source_sha256` that file's content then. The bytecode itself is `size` bytes of `file`, from
    `offset` on; `sha256` is theirs.
    """

    path: str
    source: str
    source_sha256: str
    file: Path
    offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFrame:
    """A piece of an archive that another one may hold as well.

    `key` is a digest of everything that decides its bytes: members and compressor. They lie at
    `offset` in the archive, are `length` bytes, and have the sum `sha256`.
    """

    key: str
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A packed environment.

    `size` is the archive's, `unpacked_size` and `files` those of what is in it, in bytes and
    members that are not folders. `tree_digest` is a digest over path, mode and content of all.
    `frames` are those that a later archive can take over; empty where that is not known.
    """

    path: Path
    format: Literal["tar.zst", "tar.gz", "squashfs"]
    sha256: str
    size: int
    unpacked_size: int
    files: int
    tree_digest: str
    frames: tuple[PackedFrame, ...] = ()
