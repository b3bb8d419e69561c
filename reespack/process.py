"""Running other programs: output line by line, a time limit for the whole group, no orphans."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from typing import TYPE_CHECKING

from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

__all__ = ["Completed", "run"]

TAIL_LINES = 40
GRACE = 5.0
"""Seconds between asking a group of processes to end and ending it."""


class Completed(Value):
    """How a program ended.

    `returncode` is negative when a signal ended it, as in `subprocess`. `tail` holds its last
    lines of output (stdout and stderr as they came), `stdout` all of stdout when it was asked for
    apart.
    """

    args: tuple[str, ...]
    returncode: int
    tail: tuple[str, ...] = ()
    stdout: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Say whether the program ended well."""
        return self.returncode == 0 and not self.timed_out

    @property
    def ending(self) -> str:
        """Say in words how the program ended, for an error line."""
        if self.timed_out:
            return "took too long and was ended"
        if self.returncode < 0:
            return f"was killed by {signal.Signals(-self.returncode).name}"
        return f"ended with exit code {self.returncode}"


def run(  # noqa: PLR0913 - each is a property of one child process
    args: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_output: Callable[[str], None] | None = None,
    capture_stdout: bool = False,
    umask: int | None = None,
) -> Completed:
    """Run a program to its end in a process group of its own, without a standard input.

    Output goes line by line to `on_output`; with `capture_stdout`, stdout is kept whole instead
    and only stderr is. Its umask is this process's, or `umask`.
    After `timeout` seconds, or when this process is interrupted, the whole
    group is ended (SIGTERM, then SIGKILL). Raises FileNotFoundError or PermissionError when the
    program cannot be started at all.
    """
    words = tuple(str(arg) for arg in args)
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if capture_stdout else subprocess.STDOUT,
        start_new_session=True,
        umask=-1 if umask is None else umask,
    )
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    captured = bytearray()

    def take(line: bytes) -> None:
        text = line.decode("utf-8", errors="replace").rstrip("\r\n")
        tail.append(text)
        if on_output is not None:
            on_output(text)

    timed_out = False
    try:
        timed_out = _pump(process, take, captured if capture_stdout else None, timeout)
    finally:
        _end_group(process)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return Completed(
        args=words,
        returncode=process.returncode,
        tail=tuple(tail),
        stdout=captured.decode("utf-8", errors="replace"),
        timed_out=timed_out,
    )


def _pump(
    process: subprocess.Popen[bytes],
    take: Callable[[bytes], None],
    captured: bytearray | None,
    timeout: float | None,
) -> bool:
    """Read until the program has ended; return whether its time ran out first.

    The program's own end counts, not the end of its output: a daemon that it left behind may hold
    the pipe open for ever.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as rests:
        if process.stdout is not None:
            sink = take if captured is None else None
            _register(selector, rests, process.stdout, sink, captured)
        if process.stderr is not None:
            _register(selector, rests, process.stderr, take, None)
        while True:
            ended = process.poll() is not None
            for key, _ in selector.select(0 if ended else 0.1):
                if not key.data(os.read(key.fd, 65536)):
                    selector.unregister(key.fileobj)
                    ended = False
            if not selector.get_map():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_left(deadline))
                return process.poll() is None
            if ended and not selector.select(0):
                return False
            if deadline is not None and time.monotonic() > deadline:
                return True


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _register(
    selector: selectors.BaseSelector,
    rests: contextlib.ExitStack,
    stream: IO[bytes],
    take: Callable[[bytes], None] | None,
    captured: bytearray | None,
) -> None:
    """Have `stream` read in pieces: whole into `captured`, or by line to `take`."""
    rest = bytearray()

    def receive(piece: bytes) -> bool:
        if captured is not None:
            captured.extend(piece)
        elif take is not None:
            rest.extend(piece)
            *lines, last = bytes(rest).split(b"\n")
            rest[:] = last
            for line in lines:
                take(line)
        return bool(piece)

    def flush() -> None:
        if rest and take is not None:
            take(bytes(rest))

    rests.callback(flush)
    selector.register(stream, selectors.EVENT_READ, receive)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Leave no process of the group behind, whatever happened."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
