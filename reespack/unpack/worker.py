"""A process that writes files: it is told what by one pipe, and answers by another.

It is a fork of this process, or a new Python where other threads are about (see `fork`).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from typing import TYPE_CHECKING

from reespack.archive.decompressor import Decompressor
from reespack.unpack.extractor import serve
from reespack.unpack.fork import alone, end, fork

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Worker", "start"]

_PIPE = 1 << 16
"""Bytes that a pipe holds (pipe(7))."""

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
            end(self.pid)
            self.pid = None
        self.close()


def start(others: Iterable[Worker] = ()) -> Worker:
    """Return a new one, beside `others`; raise the OSError of a process that cannot be."""
    given, requests = os.pipe()
    answers, said = os.pipe()
    worker = Worker(requests, answers)
    try:
        if alone():
            work = functools.partial(_serve, given, said, (*others, worker), Decompressor())
            worker.pid = fork(work)
        else:
            worker.pid = _spawned(given, said)
    except BaseException:
        worker.end()
        raise
    finally:
        os.close(given)
        os.close(said)
    return worker


def _serve(given: int, said: int, workers: Iterable[Worker], decompressor: Decompressor) -> None:
    for worker in workers:  # else it would not see that nobody tells it anything any more
        worker.close()
    serve(os.fdopen(given, "rb"), os.fdopen(said, "wb"), decompressor)


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
