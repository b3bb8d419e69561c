"""Removing from the cache what has not been used for long, beside builds that are under way."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from reespack.errors import ConfigError
from reespack.files import remove_tree
from reespack.progress import QUIET
from reespack.store.entries import (
    BUILDS,
    STAMPED,
    Entry,
    Measure,
    find_entries,
    last_used,
)
from reespack.store.use import STAMPS, leases, oldest_lease
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from reespack.progress import Progress
    from reespack.store.cache import Cache

__all__ = ["Contents", "Part", "Pruned", "clean", "inspect", "prune"]

_YOUNG = 3600.0
"""Seconds for which what nobody seems to be making is left to whoever makes it without a lease."""


class Part(Value):
    """A part of the cache: how many entries, bytes on the disk, and when the oldest was used."""

    name: str
    entries: int
    size: int
    oldest: float | None


class Contents(Value):
    """What is in a cache. `users` says who uses it now."""

    root: Path
    parts: tuple[Part, ...]
    users: tuple[str, ...]

    @property
    def size(self) -> int:
        """Return the bytes on the disk."""
        return sum(part.size for part in self.parts)


class Pruned(Value):
    """What was removed, or would be.

    `freed` and `size` (of what stays) are bytes on the disk; `in_use` counts the entries that had
    to stay because a build relies on them, `others` those that belong to other users.
    """

    removed: tuple[Entry, ...]
    freed: int
    size: int
    in_use: int
    others: int


def inspect(cache: Cache) -> Contents:
    """Measure a cache. Nothing is written, and no lock is taken."""
    measure = Measure()
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    oldest: dict[str, float] = {}
    for entry in find_entries(cache.root):
        sizes[entry.part] += measure.add(entry)
        counts[entry.part] += 1
        oldest.setdefault(entry.part, entry.used)
    for folder in (cache.root / BUILDS).glob("build-*"):
        entry = Entry(part=BUILDS, name=folder.name, path=folder, used=0.0)
        sizes[BUILDS] += measure.add(entry)
        counts[BUILDS] += 1
    return Contents(
        root=cache.root,
        parts=tuple(
            Part(name=name, entries=counts[name], size=sizes[name], oldest=oldest.get(name))
            for name in sorted(sizes)
        ),
        users=tuple(str(holder) for holder in leases(cache.root)),
    )


def prune(
    cache: Cache,
    *,
    older_than: float | None = None,
    max_size: int | None = None,
    dry_run: bool = False,
    progress: Progress = QUIET,
) -> Pruned:
    """Remove what was not used for `older_than` seconds, then the longest unused to `max_size`.

    `max_size` is in bytes on the disk. Without either, only what killed processes left goes. What
    a command under way may rely on stays, whatever the limits. Raises ConfigError when the cache
    cannot be written to.
    """
    before = time.time() - older_than if older_than is not None else None
    return _remove(cache, before=before, max_size=max_size, dry_run=dry_run, progress=progress)


def clean(cache: Cache, *, dry_run: bool = False, progress: Progress = QUIET) -> Pruned:
    """Remove everything that no command under way relies on. Raises as `prune` does."""
    pruned = _remove(cache, before=float("inf"), max_size=0, dry_run=dry_run, progress=progress)
    if not dry_run and oldest_lease(cache.root) is None:
        # What refs of remotes stood for: only an offline run misses it.
        remove_tree(cache.root / "repositories" / "refs")
    return pruned


def _remove(
    cache: Cache, *, before: float | None, max_size: int | None, dry_run: bool, progress: Progress
) -> Pruned:
    if not cache.root.is_dir():
        return Pruned(removed=(), freed=0, size=0, in_use=0, others=0)
    progress.step("Measuring the cache")
    # Before the lock: it takes its time, for which no build should have to wait.
    entries = find_entries(cache.root)
    total = Measure()
    sizes = {entry.path: total.add(entry) for entry in entries}
    size = sum(sizes.values())
    if dry_run:
        chosen = _Chosen(cache.root, before=before, max_size=max_size, sizes=sizes)
        for entry in entries:
            chosen.look_at(entry)
        return chosen.result(size)
    with cache.open_to_group():
        if before is not None or max_size is not None:
            progress.step("Removing what is not used any more")
        _make_room(cache)
        for folder in cache.sweep():
            progress.detail(f"removed {folder}")
        with cache.lock("entries", progress=progress):
            chosen = _Chosen(cache.root, before=before, max_size=max_size, sizes=sizes)
            trash = [path for entry in entries for path in chosen.take(entry)]
            _drop_stamps(cache.root)
        with progress.task("removing", total=len(trash)) as advance:
            for path in trash:
                remove_tree(path)
                advance(1)
        _ = cache.locks  # which has its reserve again
    return chosen.result(size)


def _make_room(cache: Cache) -> None:
    """Give up the reserve if not even a lock can be made any more."""
    try:
        with cache.lock("entries"):
            pass
    except ConfigError as error:
        number = getattr(error.__cause__, "errno", None)
        if number not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        cache.give_up_reserve()


class _Chosen:
    """Decides entry by entry what is to go, the longest unused first."""

    def __init__(
        self,
        root: Path,
        *,
        before: float | None,
        max_size: int | None,
        sizes: dict[Path, int],
    ) -> None:
        self._root = root
        self._before = before
        self._sizes = sizes
        self._over = sum(sizes.values()) - max_size if max_size is not None else 0
        self._lease = oldest_lease(root)
        self._removed: list[Entry] = []
        self._freed = Measure()
        self._in_use = self._others = 0

    def look_at(self, entry: Entry) -> bool:
        """Say whether an entry goes, and count it."""
        if not self._is_wanted_gone(entry):
            return False
        if self._is_in_use(entry):
            self._in_use += 1
            return False
        if not _is_removable(entry.path):
            self._others += 1
            return False
        self._removed.append(entry)
        self._freed.add(entry)
        self._over -= self._sizes[entry.path]
        return True

    def take(self, entry: Entry) -> Iterator[Path]:
        """Give an entry that goes a hidden name; yield what is then to be removed."""
        if not self.look_at(entry):
            return
        for path in reversed((entry.path, *entry.beside)):
            aside = path.with_name(f".removed-{os.urandom(6).hex()}")
            with contextlib.suppress(FileNotFoundError):
                path.rename(aside)
                yield aside
        with contextlib.suppress(OSError):
            (self._root / STAMPS / entry.part / entry.name).unlink()

    def result(self, size: int) -> Pruned:
        """Return what came of it, for a cache that had `size` bytes."""
        gone = sum(self._sizes[entry.path] for entry in self._removed)
        return Pruned(
            removed=tuple(self._removed),
            freed=self._freed.freed,
            size=size - gone,
            in_use=self._in_use,
            others=self._others,
        )

    def _is_wanted_gone(self, entry: Entry) -> bool:
        used = last_used(self._root, entry)
        too_old = self._before is not None and used < self._before
        if entry.left:
            return too_old or used < time.time() - _YOUNG
        return too_old or self._over > 0

    def _is_in_use(self, entry: Entry) -> bool:
        if self._lease is None:
            return False
        if entry.left or entry.part in STAMPED:
            return last_used(self._root, entry) >= self._lease
        return True


def _is_removable(path: Path) -> bool:
    """Say whether this user may remove all of it: in a shared cache, much is somebody else's."""
    if os.geteuid() == 0:
        return True
    if not path.is_dir() or path.is_symlink():
        return os.access(path.parent, os.W_OK | os.X_OK)
    folders: Sequence[str] = [str(path)] + [
        os.path.join(top, name)  # noqa: PTH118 - many
        for top, names, _ in os.walk(path)
        for name in names
    ]
    mine = os.geteuid()
    return os.access(path.parent, os.W_OK | os.X_OK) and all(
        os.path.islink(folder)  # noqa: PTH114
        or os.stat(folder).st_uid == mine  # noqa: PTH116
        or os.access(folder, os.W_OK | os.X_OK)
        for folder in folders
    )


def _drop_stamps(root: Path) -> None:
    """Remove the stamps of what is not there any more, unless a build is about to make it."""
    lease = oldest_lease(root)
    for part in (root / STAMPS).glob("[!.]*"):
        for stamp in part.iterdir():
            with contextlib.suppress(OSError):
                known = (root / part.name / stamp.name).exists()
                if not known and (lease is None or stamp.stat().st_mtime < lease):
                    stamp.unlink()
