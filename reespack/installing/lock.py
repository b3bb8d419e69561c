"""The lock on one environment of a store, which holds where `flock` does not.

It is a symbolic link whose target names its owner: made in one step on every file system, never
without an owner, read without opening anything. Its owner beats in a file beside it. A lock whose
owner is dead is taken away by one process at a time: the one that holds the link `….break`, which
looks again before it does so, and whose own death is found out in the same way.

`reespack.kernelspec.scripts` does the same in POSIX sh; docs/installing.md describes it for both.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING

from reespack.owners import Owner, current_owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["BEAT", "PATIENCE", "Lock", "now_of"]

BEAT = 2.0
"""Seconds between two beats of an owner's heart."""

PATIENCE = 60.0
"""Seconds of silence after which an owner that cannot be seen from here is taken for dead."""

WATCH = 6.0
"""Seconds for which that silence must have been watched: a server that hung silences everybody."""

_DEEPEST = 8


def now_of(folder: Path) -> float:
    """Return the time by the clock of the file system that `folder` lies on."""
    import tempfile

    with tempfile.TemporaryFile(prefix=".clock.", dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


class Lock:
    """A lock by the path of its link; `acquire` it, and `release` it whatever happens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.beat_file = path.with_suffix(".beat")
        self._me = current_owner()
        self._heart: threading.Thread | None = None
        self._stop = threading.Event()

    def acquire(
        self,
        *,
        waiting: Callable[[Owner | None], None] | None = None,
        unless: Callable[[], bool] = lambda: False,
        wait: bool = True,
    ) -> bool:
        """Take the lock; return False when somebody else has it and it is not waited for.

        That is when `unless` comes true first, or without `wait`. `waiting` is called once, with
        the owner, when there is one to wait for. Raises OSError when the folder cannot be written
        to.
        """
        watch = _Watch()
        pause = 0.02
        while not self._take(self.path):
            if unless():
                return False
            owner = _owner_of(self.path)
            if owner is None:
                if self.path.is_symlink() or not os.path.lexists(self.path):
                    continue  # it has just been released
                raise FileExistsError(errno.EEXIST, "it is no lock", str(self.path))
            watch.look(self.path, self.beat_file)
            if self._is_dead(owner, watch):
                self._break(self.path, owner)
                continue
            if not wait and (owner.is_visible or not watch.is_promising(self.path)):
                return False
            if waiting is not None:
                waiting(owner)
                waiting = None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        self._heart = threading.Thread(target=self._keep_beating, daemon=True)
        self._heart.start()
        return True

    @property
    def is_mine(self) -> bool:
        """Whether the lock is still this one's: a process that hung may have lost it."""
        return _owner_of(self.path) == self._me

    def rest(self) -> None:
        """Beat no more: for the last moments before the release, with one thread."""
        self._stop.set()
        if self._heart is not None:
            self._heart.join()

    def release(self) -> None:
        """Give the lock back, if it is still held."""
        self.rest()
        if self.is_mine:
            self.beat_file.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what processes left that died while they took a lock away from the dead."""
        breakers = sorted(self.path.parent.glob(f"{self.path.name}.break*"), reverse=True)
        for breaker in breakers:
            owner = _owner_of(breaker)
            if owner is not None and owner.is_dead(silence=None, patience=PATIENCE):
                self._break(breaker, owner)

    def _take(self, path: Path) -> bool:
        try:
            path.symlink_to(str(self._me))
        except FileExistsError:
            # The answer to a first, lost one: NFS asks again.
            return _owner_of(path) == self._me
        return True

    def _is_dead(self, owner: Owner, watch: _Watch) -> bool:
        if owner.is_visible:
            return owner.is_dead(silence=None, patience=PATIENCE)
        return watch.seconds > WATCH and owner.is_dead(
            silence=watch.silence(self.path.parent), patience=PATIENCE
        )

    def _break(self, path: Path, dead: Owner, depth: int = 0) -> None:
        """Remove the link of a dead owner; someone else may do so first."""
        breaker = path.with_name(f"{path.name}.break")
        if not self._take(breaker):
            other = _owner_of(breaker)
            watch = _Watch()
            watch.look(breaker, breaker)
            if other is not None and depth < _DEEPEST:
                silence = None if other.is_visible else watch.silence(breaker.parent)
                if other.is_dead(silence=silence, patience=PATIENCE):
                    self._break(breaker, other, depth + 1)
                    return
            time.sleep(0.05)
            return
        try:
            if _owner_of(path) == dead:
                path.unlink(missing_ok=True)
        finally:
            breaker.unlink(missing_ok=True)

    def _keep_beating(self) -> None:
        count = 0
        while not self._stop.wait(BEAT):
            count += 1
            # A disk that is full for a moment is no reason to stop.
            with contextlib.suppress(OSError):
                if not self.is_mine:
                    return
                self.beat_file.write_text(f"{self._me} {count}\n", encoding="ascii")


class _Watch:
    """What is seen of somebody's heart: when it has last been seen to beat."""

    def __init__(self) -> None:
        self._seen: tuple[str, float] | None = None
        self._since = time.monotonic()
        self._last = 0.0

    def look(self, link: Path, beat: Path) -> None:
        """Look at the lock and the beats."""
        times = [0.0]
        for path in (link, beat):
            with contextlib.suppress(OSError):
                times.append(path.lstat().st_mtime)
        owner = ""
        with contextlib.suppress(OSError):
            owner = os.readlink(link)  # noqa: PTH115 - the target is no path
        self._last = max(times)
        if (owner, self._last) != self._seen:
            self._seen = (owner, self._last)
            self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long nothing has been seen to change."""
        return time.monotonic() - self._since

    def silence(self, folder: Path) -> float:
        """Return the seconds since the last beat, both by the file system's clock."""
        return now_of(folder) - self._last

    def is_promising(self, link: Path) -> bool:
        """Whether it is worth watching for some seconds more."""
        return self.silence(link.parent) > PATIENCE


def _owner_of(link: Path) -> Owner | None:
    """Return whom a lock belongs to; None when there is none."""
    try:
        return Owner.parse(os.readlink(link))  # noqa: PTH115 - the target is no path
    except OSError:
        return None
