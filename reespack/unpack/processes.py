"""Unpacking with several processes: each reads its own frames and writes the files in them.

Threads would not do: a small file takes a handful of short system calls, and after each of them a
thread of Python's waits for the others. The processes start while the listing is still being read;
what they are told is little more than numbers (see `extractor`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reespack import errors
from reespack.archive.frames import Frame, find_frames, form_of
from reespack.archive.header import END, member_size
from reespack.errors import ReespackError, UnpackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reespack.unpack.head import Head

__all__ = ["Extractors", "Range", "Task", "extractors", "split"]

_BYTES = 24 << 20
_FILES = 1000
_SMALLEST = 48 << 20
"""Bytes below which another process takes longer to start than it would save."""

_KEEP_MEMORY = {"MALLOC_TOP_PAD_": str(32 << 20)}
"""glibc gives memory back and asks for it anew with every frame otherwise (mallopt(3))."""

_START = "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
_RUN = "from reespack.unpack.extractor import main; main()"


@dataclass(frozen=True, slots=True)
class Range:
    """Frames that follow each other, and the lines of the listing for the members in them."""

    frames: tuple[Frame, ...]
    lines: bytes

    def encoded(self) -> bytes:
        """Return it as a process reads it."""
        frames = [[frame.offset, frame.length, frame.form, frame.size] for frame in self.frames]
        return json.dumps([frames, len(self.lines)]).encode() + b"\n" + self.lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all processes are told: what to unpack, where to, and whether to take files' sums."""

    archive: Path
    root: Path
    head: Head
    mtime: int
    sums: bool

    def encoded(self) -> bytes:
        """Return the line that a process reads first."""
        task = {
            "archive": str(self.archive),
            "root": str(self.root),
            "prefix": os.fsdecode(self.head.mending.prefix),
            "placeholders": self.head.placeholders.decode(),
            "mtime": self.mtime,
            "sums": self.sums,
        }
        return json.dumps(task).encode() + b"\n"


@contextlib.contextmanager
def extractors(archive: Path, *, threads: int) -> Iterator[Extractors]:
    """Yield processes that wait for something to do; at the end none of them is left."""
    frames = find_frames(archive, form_of(archive)) if threads > 1 else ()
    count = min(threads, len(frames) - 2)
    if count < 2 or sum(frame.size for frame in frames) < _SMALLEST:  # noqa: PLR2004 - one is this
        count = 0
    found = Extractors(frames, [])
    try:
        for _ in range(count):
            found.processes.append(_started())
        yield found
    finally:
        found.end()


def _started() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _START + _RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_KEEP_MEMORY},
    )
    with contextlib.suppress(BrokenPipeError):  # said when it is given something to do
        _send(process, json.dumps([path for path in sys.path if path]).encode() + b"\n")
    return process


@dataclass(frozen=True, slots=True)
class Extractors:
    """Processes that are ready, which may be none, and the frames of the archive."""

    frames: tuple[Frame, ...]
    processes: list[subprocess.Popen[bytes]]

    def end(self) -> None:
        """Kill them all, if they have not ended, and wait until they are gone."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            with contextlib.suppress(BrokenPipeError):
                process.communicate()

    def extract(self, task: Task, ranges: Sequence[Range], advance: Callable[[int], None]) -> None:
        """Have the files of all ranges written; raise what the first process to fail says."""
        queue = iter(ranges)
        lock = threading.Lock()
        failed = threading.Event()

        def next_range() -> Range | None:
            with lock:
                return None if failed.is_set() else next(queue, None)

        def work(process: subprocess.Popen[bytes]) -> None:
            try:
                _converse(process, task, next_range, advance)
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(len(self.processes)) as pool:
            futures = [pool.submit(work, process) for process in self.processes]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                failed.set()
                self.end()
                raise


def split(frames: tuple[Frame, ...], head: Head) -> tuple[Range, ...]:
    """Cut the archive where a frame begins with a member; empty when that cannot be.

    Also when its index and its listing do not agree: reading it in order finds out why.
    """
    place = sum(frame.size for frame in frames[:2])  # the manifest's, and the lists'
    starts = {}
    for number, member in enumerate(head.body, start=len(head.members) - len(head.body)):
        starts[place] = number
        place += member_size(member)
    starts[place] = len(head.members)
    if sum(frame.size for frame in frames) < place + len(END):
        return ()
    return tuple(_ranges(frames, head.listing.split(b"\n"), starts))


def _ranges(
    frames: tuple[Frame, ...], lines: list[bytes], starts: dict[int, int]
) -> Iterator[Range]:
    place = begin = sum(frame.size for frame in frames[:2])
    first, end = 2, max(starts)
    for number, frame in enumerate(frames[2:], start=2):
        place += frame.size
        last = number == len(frames) - 1  # what ends a tar file is in it
        member = starts[end] if last else starts.get(place)
        if member is None:
            continue
        if last or place - begin >= _BYTES or member - starts[begin] >= _FILES:
            yield Range(
                frames[first : number + 1], b"\n".join([*lines[starts[begin] : member], b""])
            )
            first, begin = number + 1, place


def _converse(
    process: subprocess.Popen[bytes],
    task: Task,
    next_range: Callable[[], Range | None],
    advance: Callable[[int], None],
) -> None:
    """Give a process one range after the other, until there are none or it fails."""
    try:
        _send(process, task.encoded())
        while given := next_range():
            _send(process, given.encoded())
            answer = json.loads(process.stdout.readline() if process.stdout else b"")
            if "done" not in answer:
                raise _error(answer)
            advance(answer["done"])
    except (BrokenPipeError, json.JSONDecodeError) as error:
        raise UnpackError("a process for unpacking ended too early", hint="try again") from error


def _send(process: subprocess.Popen[bytes], content: bytes) -> None:
    if process.stdin is not None:
        process.stdin.write(content)
        process.stdin.flush()


def _error(answer: dict[str, Any]) -> ReespackError | OSError:
    """Return the error that a process told, as an error of this one."""
    if "errno" in answer:
        return OSError(answer["errno"], answer["strerror"], answer["filename"])
    kind = getattr(errors, str(answer.get("error")), UnpackError)
    error: ReespackError = kind(answer.get("message", "unpacking failed"), hint=answer.get("hint"))
    return error
