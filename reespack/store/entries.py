"""What is in the cache: its entries, how much of the disk each takes, and when it was used.

An entry is what can be removed alone: a package, a checkout, a lockfile, an archive. The size of a
file is what it takes on the disk, and counts once however many names it has.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from reespack.store.use import LEASES, STAMPS
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BUILDS", "STAMPED", "WHOLE", "Entry", "Measure", "Weight", "find_entries", "last_used"]

BUILDS = "builds"
WHOLE = frozenset({"uv"})
"""Parts that are one entry: only the program that they belong to knows what is in them."""
STAMPED = frozenset({"packages", "repositories", "lockfiles", "artifacts"})
"""Parts whose entries are stamped one by one; of all others any may be in use by any build."""

_NESTED = frozenset({"bytecode"})
"""Parts whose entries lie in a folder for each Python. Using one of them sets its times."""
_INNER = frozenset({"locks", LEASES, STAMPS, BUILDS})
_BLOCK = 512
_BESIDE = {"packages": ("{}.lock", ".checked/{}")}
"""What belongs to an entry and lies beside it."""


class Weight(Value):
    """A file's place on the disk: device and inode, bytes, and how many names it has."""

    key: tuple[int, int]
    size: int
    names: int


class Entry(Value):
    """Something that can be removed alone.

    `used` is in seconds since the epoch. `left` says that nobody can use it any more: it is what
    a process that was killed was making, or removing.
    """

    part: str
    name: str
    path: Path
    beside: tuple[Path, ...] = ()
    used: float
    left: bool = False

    def weights(self) -> Iterator[Weight]:
        """Yield all that is in it, folders too; what vanishes meanwhile does not count."""
        for path in (self.path, *self.beside):
            yield from _weights(path)


class Measure:
    """Adds up what entries take on the disk, each file once."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int], tuple[int, int, int]] = {}

    def add(self, entry: Entry) -> int:
        """Add an entry; return the bytes that no entry before had."""
        more = 0
        for weight in entry.weights():
            names, seen, _ = self._names.get(weight.key, (weight.names, 0, weight.size))
            more += 0 if seen else weight.size
            self._names[weight.key] = (names, seen + 1, weight.size)
        return more

    @property
    def freed(self) -> int:
        """Return the bytes that removing the entries frees: files without a name elsewhere."""
        return sum(size for names, seen, size in self._names.values() if seen >= names)


def find_entries(root: Path) -> list[Entry]:
    """Return all entries of a cache, the longest unused first; not the builds under way."""
    entries = []
    for part in _folders(root):
        if part.name in WHOLE:
            used = _time(root / STAMPS / f".{part.name}") or _changed(part)
            entries.append(Entry(part=part.name, name="", path=part, used=used or 0.0))
        elif part.name.startswith("."):
            entries.append(_left(part))
        elif part.name not in _INNER:
            entries += _entries(root, part)
    return sorted(entries, key=lambda entry: (entry.used, entry.part, entry.name))


def last_used(root: Path, entry: Entry) -> float:
    """Return when an entry was used last, now; 0 when it is gone."""
    stamp = f".{entry.part}" if entry.part in WHOLE else f"{entry.part}/{entry.name}"
    changed = _changed(entry.path)
    return 0.0 if changed is None else _time(root / STAMPS / stamp) or changed


def _left(path: Path) -> Entry:
    return Entry(part=path.name, name="", path=path, used=_changed(path) or 0.0, left=True)


def _entries(root: Path, part: Path) -> Iterator[Entry]:
    beside = _BESIDE.get(part.name, ())
    paths = _children(part)
    if part.name in _NESTED:
        paths = [below for path in paths for below in _children(path)]
    for path in paths:
        name = path.relative_to(part).as_posix()
        if name == "refs" or name in {".checked", ".cache.lock"} or name.endswith(".lock"):
            continue
        changed = _changed(path)
        if changed is None:
            continue
        yield Entry(
            part=part.name,
            name=name,
            path=path,
            beside=tuple(part / pattern.format(name) for pattern in beside),
            used=_time(root / STAMPS / part.name / name) or changed,
            left=path.name.startswith("."),
        )


def _folders(root: Path) -> list[Path]:
    return [path for path in _children(root) if path.is_dir() and not path.is_symlink()]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _time(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _changed(path: Path) -> float | None:
    """Return when a path got its name at the latest: packages bring times of their own."""
    try:
        return path.lstat().st_ctime
    except OSError:
        return None


def _weights(path: Path) -> Iterator[Weight]:
    try:
        status = path.lstat()
    except OSError:
        return
    yield _weight(status)
    if not stat.S_ISDIR(status.st_mode):
        return
    pending = [str(path)]
    while pending:
        try:
            with os.scandir(pending.pop()) as listing:
                found = list(listing)
        except OSError:
            continue
        for entry in found:
            with contextlib.suppress(OSError):
                yield _weight(entry.stat(follow_symlinks=False))
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def _weight(status: os.stat_result) -> Weight:
    is_file = stat.S_ISREG(status.st_mode)
    return Weight(
        key=(status.st_dev, status.st_ino),
        size=status.st_blocks * _BLOCK,
        names=status.st_nlink if is_file else 1,
    )
