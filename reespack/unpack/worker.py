"""A process that writes files: it is told what by one pipe, and answers by another.

It is a fork of this process, which has imported all that it needs already: that is most of what a
new process takes its time for. Where other threads are about, it is a new Python instead: one of
them may hold a lock that nobody would release in a fork (`os.fork` in Python's documentation).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from reespack.archive.decompressor import Decompressor
from reespack.unpack.extractor import serve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Worker", "start"]

_PIPE = 1 << 16
"""Bytes that a pipe holds (pipe(7))."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from reespack.archive.decompressor import Decompressor
from reespack.unpack.extractor import serve
serve(sys.stdin.buffer, sys.stdout.buffer, Decompressor())
"""


class Worker:
    """The process, and this end of its pipes; `asked` is how many answers are still to come."""

    def __init__(self, requests: int, answers: int) -> None:
        self.pid: int | None = None
        self.asked = 0
        self._requests = os.fdopen(requests, "wb")
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._begun = b""

    def fileno(self) -> int:
        """Return what its answers are read from, for whoever waits for several (select.poll)."""
        return self._answers.fileno()

    def tell(self, line: bytes) -> None:
        """Tell it something that it does not answer; raise BrokenPipeError when it has ended."""
        self._requests.write(line)
        self._requests.flush()

    def ask(self, line: bytes) -> None:
        """Tell it something that it answers with a line; raise BrokenPipeError as `tell` does."""
        self.tell(line)
        self.asked += 1

    def answers(self) -> list[bytes]:
        """Wait until it says something, and return its lines; raise EOFError when it has ended."""
        said = self._answers.read(_PIPE)
        if not said:
            raise EOFError("a process has ended")
        *lines, self._begun = (self._begun + said).split(b"\n")
        self.asked -= len(lines)
        return lines

    def let_go(self) -> None:
        """Tell it that nothing more is to come, so that it ends."""
        with contextlib.suppress(BrokenPipeError):  # nobody is there for what was not sent
            self._requests.close()

    def close(self) -> None:
        """Close this end of its pipes."""
        self.let_go()
        self._answers.close()

    def end(self) -> None:
        """Kill it, if it has not ended, and wait until it is gone."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)  # what ignores SIGCHLD has no children to wait for
            self.pid = None
        self.close()


def start(others: Iterable[Worker] = ()) -> Worker:
    """Return a new one, beside `others`; raise the OSError of a process that cannot be."""
    given, requests = os.pipe()
    answers, said = os.pipe()
    worker = Worker(requests, answers)
    try:
        if _alone():
            worker.pid = _forked(given, said, (*others, worker))
        else:
            worker.pid = _spawned(given, said)
    except BaseException:
        worker.end()
        raise
    finally:
        os.close(given)
        os.close(said)
    return worker


def _alone() -> bool:
    """Say whether this process has a single thread, be they Python's or not (proc(5))."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False


def _forked(given: int, said: int, workers: Sequence[Worker]) -> int:
    decompressor = Decompressor()
    # A signal between the fork and what comes next would have the fork clean up what is not its.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if not pid:
            _serve(given, said, workers, decompressor, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _serve(
    given: int,
    said: int,
    workers: Sequence[Worker],
    decompressor: Decompressor,
    mask: Iterable[int],
) -> NoReturn:
    """Be a worker, and nothing else of what this process was a fork of."""
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for worker in workers:  # else it would not see that nobody tells it anything any more
            worker.close()
        serve(os.fdopen(given, "rb"), os.fdopen(said, "wb"), decompressor)
    finally:
        os._exit(0)


def _spawned(given: int, said: int) -> int:
    paths = json.dumps([path for path in sys.path if path])
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-c", _PROGRAM, paths],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, given, 0),
                (os.POSIX_SPAWN_DUP2, said, 1),
                (os.POSIX_SPAWN_DUP2, nowhere, 2),
            ],
        )
    finally:
        os.close(nowhere)
