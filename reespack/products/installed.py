"""What is installed: a prefix, what happened to it on the way, and the bytecode for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reespack.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import Note
    from reespack.products.locked import LockedPip, PlatformLock

__all__ = ["Bytecode", "FileChange", "Prefix"]


class FileChange(Value):
    """A file in the prefix that is not as its package brought it; `by` says who did it."""

    path: str
    change: Literal["added", "changed", "deleted"]
    by: Literal["pip", "postBuild"]
    package: str | None = None


class Prefix(Value):
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


class Bytecode(Value):
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
