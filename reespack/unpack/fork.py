"""A fork of this process that does one piece of work, and nothing else of what this one would.

It has imported all that it needs already: that is most of what a new process takes its time for.
Only a process without other threads may have one: they may hold a lock that nobody would release in
a fork (`os.fork` in Python's documentation).
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["alone", "end", "fork"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def alone() -> bool:
    """Say whether this process has a single thread, be they Python's or not (proc(5))."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False


def fork(work: Callable[[], object]) -> int:
    """Have a fork do `work`, and return its number; raise the OSError of one that cannot be.

    It ends when `work` does, however that ends, and says nothing about it.
    """
    # A signal between the fork and what comes next would have the fork clean up what is not its.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if not pid:
            _do(work, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _do(work: Callable[[], object], mask: Iterable[int]) -> NoReturn:
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work()
    finally:
        os._exit(0)


def end(pid: int) -> None:
    """Kill a child of this process, if it has not ended, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # what ignores SIGCHLD has no children to wait for
