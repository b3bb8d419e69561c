"""What changed in a tree between two moments, by looking at files only as far as needed."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reespack.files import sha256_file, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Change", "Snapshot", "compare", "take_snapshot"]

Change = Literal["added", "changed", "deleted"]
BYTECODE = "/__pycache__/"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system knows of one file; `target` is where a link leads."""

    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    inode: int
    target: str | None = None


Snapshot = dict[str, Stamp]
"""A stamp for each file and link below a folder, by its path; folders are not listed."""


def take_snapshot(root: Path) -> Snapshot:
    """Return a stamp for every file and link below `root`, without reading any."""
    found: Snapshot = {}
    for path, entry in walk(root):
        if entry.is_dir(follow_symlinks=False):
            continue
        status = entry.stat(follow_symlinks=False)
        found[path] = Stamp(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            mode=_kind(status.st_mode),
            inode=status.st_ino,
            target=str((root / path).readlink()) if entry.is_symlink() else None,
        )
    return found


def _kind(mode: int) -> int:
    """Return what of a mode is packed: the rest says what the umask was."""
    return stat.S_IFMT(mode) | (mode & stat.S_IXUSR)


def compare(
    before: Snapshot,
    after: Snapshot,
    root: Path,
    *,
    known: Callable[[str], str | None] = lambda _: None,
) -> Iterator[tuple[str, Change]]:
    """Yield (path, change) in order.

    A file whose stamp differs but whose size does not is read: when its sha256 is the one `known`
    for it, it was only touched. Bytecode is left out: it follows from its sources.
    """
    for path in sorted({*before, *after}):
        if BYTECODE in f"/{path}":
            continue
        old, new = before.get(path), after.get(path)
        if old is None:
            yield path, "added"
        elif new is None:
            yield path, "deleted"
        elif old != new and not _same_content(path, old, new, root, known):
            yield path, "changed"


def _same_content(
    path: str, old: Stamp, new: Stamp, root: Path, known: Callable[[str], str | None]
) -> bool:
    if (old.mode, old.size, old.target) != (new.mode, new.size, new.target):
        return False
    if old.target is not None or not stat.S_ISREG(new.mode):
        return True
    digest = known(path)
    return digest is not None and digest == sha256_file(root / path)
