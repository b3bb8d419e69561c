"""Who uses the cache now, and what was used when.

A command holds a *lease* for as long as it relies on the cache: a lock in ROOT/leases. What it is
about to rely on, it *stamps*: ROOT/used/PART/NAME gets the time, since neither the times of access
nor those of change of the entries themselves say it. Stamps are set, and entries are taken away,
under one lock. So whoever prunes knows that an entry with a stamp older than the oldest lease is
in nobody's hands.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from reespack.locks import holder_of, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reespack.locks import Held, Holder

__all__ = [
    "LEASES",
    "STAMPS",
    "leases",
    "oldest_lease",
    "open_to_group",
    "stamp",
    "take_lease",
]

LEASES = "leases"
STAMPS = "used"
_GROUP = 0o2020
"""Set-group-id and the group's right to write: what makes a folder a group's (chmod g+ws)."""


def take_lease(root: Path) -> Held | None:
    """Return a lease on the cache `root`; None where nothing can be written, and nothing pruned.

    Raises OSError when the disk is full.
    """
    try:
        (root / LEASES).mkdir(parents=True, exist_ok=True)
        return try_lock(root / LEASES / os.urandom(6).hex())
    except OSError as error:
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            return None
        raise


def leases(root: Path) -> tuple[Holder, ...]:
    """Return the holders of the leases, dead ones too."""
    found = (holder_of(path) for path in _visible(root / LEASES))
    return tuple(holder for holder in found if holder is not None)


def oldest_lease(root: Path) -> float | None:
    """Return when the oldest command under way began (seconds since the epoch); None without any.

    Leases of commands that were killed are removed.
    """
    times = []
    for path in _visible(root / LEASES):
        # Looked at first: a lease that ends meanwhile is as good as one that has not.
        with contextlib.suppress(FileNotFoundError):
            since = min((file.stat().st_mtime for file in path.iterdir()), default=None)
            held = try_lock(path)
            if held is not None:
                held.release()
            elif since is not None:
                times.append(since)
    return min(times, default=None)


def stamp(root: Path, part: str, names: Iterable[str]) -> None:
    """Note that entries are used now. Raises OSError when that cannot be written."""
    folder = root / STAMPS / part
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = folder / name
        try:
            file.touch()
        except PermissionError:
            # Another user's, in a folder that is everybody's.
            file.unlink()
            file.touch()


@contextlib.contextmanager
def open_to_group(root: Path) -> Iterator[None]:
    """In a cache that belongs to a group (`chmod g+ws`), let the group write to what is made."""
    try:
        shared = root.stat().st_mode & _GROUP == _GROUP
    except OSError:
        shared = False
    if not shared:
        yield
        return
    before = os.umask(0o077)
    os.umask(before & ~0o070)
    try:
        yield
    finally:
        os.umask(before)


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
