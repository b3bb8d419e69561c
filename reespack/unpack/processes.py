"""Unpacking with several processes: each reads its own frames and writes the files in them.

Threads would not do: a small file takes a handful of short system calls, and after each of them a
thread of Python's waits for the others. The processes start while the listing is still being read;
what they are told is little more than numbers (see `extractor`, and `worker` for what they are).
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reespack import errors
from reespack.archive.frames import Frame, find_frames, form_of
from reespack.archive.header import END, member_size
from reespack.errors import ReespackError, UnpackError, VerificationError
from reespack.unpack.worker import start
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from reespack.archive.listing import Member
    from reespack.unpack.head import Head
    from reespack.unpack.worker import Worker

__all__ = ["Extractors", "Range", "Task", "extractors"]

_HEAD_FRAMES = 2
"""The manifest's, and that of the lists."""

_BYTES = 6 << 20
_FILES = 400
_SMALLEST = 48 << 20
"""Bytes below which another process takes longer to start than it would save."""


@dataclass(frozen=True, slots=True)
class Range:
    """Frames that follow each other, and the lines of the listing for the members in them."""

    frames: tuple[Frame, ...]
    lines: bytes

    def encoded(self) -> bytes:
        """Return it as a process reads it."""
        return json.dumps([self.frames, len(self.lines)]).encode() + b"\n" + self.lines


class Task(Value):
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
    """Yield processes that wait for something to do; at the end none of them is left.

    Raises VerificationError when there is something in a gap between frames.
    """
    frames = find_frames(archive, form_of(archive))
    count = min(threads, len(frames) - _HEAD_FRAMES)
    if count < 2 or sum(frame.size for frame in frames) < _SMALLEST:  # noqa: PLR2004 - one is this
        count = 0
    found = Extractors(frames, [])
    try:
        for _ in range(count):
            found.workers.append(start(found.workers))
        yield found
    finally:
        found.end()


@dataclass(frozen=True, slots=True)
class Extractors:
    """Processes that are ready, which may be none, and the frames of the archive."""

    frames: tuple[Frame, ...]
    workers: list[Worker]

    def end(self) -> None:
        """Kill them all, if they have not ended, and wait until they are gone."""
        for worker in self.workers:
            worker.end()

    def fit(self, start: int) -> bool:
        """Say whether there are processes, and frames for them that begin at `start`.

        Another program's frames may be cut anywhere.
        """
        return bool(self.workers) and start == self._start

    @property
    def _start(self) -> int:
        return sum(frame.size for frame in self.frames[:_HEAD_FRAMES])

    @property
    def size(self) -> int:
        """How many bytes of tar there are to do."""
        return sum(frame.size for frame in self.frames[_HEAD_FRAMES:])

    def extract(self, task: Task, advance: Callable[[int], None]) -> list[Member]:
        """Have all files of the body written, and return its members.

        Raises what the first process to fail says, or what is wrong with a member.
        """
        body: list[Member] = []
        lines = io.BytesIO(task.head.listing)
        for _ in task.head.first:
            lines.readline()
        queue = _ranges(self.frames, self._start, _noted(task.head.body, body), lines)
        lock = threading.Lock()
        failed = threading.Event()

        def next_range() -> Range | None:
            with lock:
                return None if failed.is_set() else next(queue, None)

        def work(worker: Worker) -> None:
            try:
                _converse(worker, task, next_range, advance)
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(len(self.workers)) as pool:
            futures = [pool.submit(work, worker) for worker in self.workers]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                failed.set()
                self.end()
                raise
        return body


def _noted(members: Iterable[Member], found: list[Member]) -> Iterator[Member]:
    for member in members:
        found.append(member)
        yield member


def _ranges(
    frames: Sequence[Frame], start: int, body: Iterable[Member], lines: Iterator[bytes]
) -> Iterator[Range]:
    """Cut the archive where a frame begins with a member; `lines` are those of `body`.

    `start` is how many bytes of tar stand before them, in the first two frames. Raises
    VerificationError when the archive's index and its listing do not agree.
    """
    ends = list(itertools.accumulate(frame.size for frame in frames))
    place = begin = start
    frame = first_frame = _HEAD_FRAMES
    first_line = line = 0
    for line, member in enumerate(body, start=1):
        place += member_size(member)
        while frame < len(ends) and ends[frame] < place:
            frame += 1
        enough = place - begin >= _BYTES or line - first_line >= _FILES
        if enough and frame < len(ends) - 1 and ends[frame] == place:
            frame += 1
            yield Range(
                tuple(frames[first_frame:frame]),
                b"".join(itertools.islice(lines, line - first_line)),
            )
            first_frame, first_line, begin = frame, line, place
    if ends[-1] < place + len(END):
        raise VerificationError(
            "the archive's index does not fit its listing", hint="fetch or build it again"
        )
    yield Range(tuple(frames[first_frame:]), b"".join(itertools.islice(lines, line - first_line)))


def _converse(
    worker: Worker,
    task: Task,
    next_range: Callable[[], Range | None],
    advance: Callable[[int], None],
) -> None:
    """Give a process one range after the other, until there are none or it fails."""
    try:
        worker.send(task.encoded())
        while given := next_range():
            worker.send(given.encoded())
            answer = json.loads(worker.answer())
            if "done" not in answer:
                raise _error(answer)
            advance(sum(frame.size for frame in given.frames))
    except (BrokenPipeError, json.JSONDecodeError) as error:
        raise UnpackError("a process for unpacking ended too early", hint="try again") from error


def _error(answer: dict[str, Any]) -> ReespackError | OSError:
    """Return the error that a process told, as an error of this one."""
    if "errno" in answer:
        return OSError(answer["errno"], answer["strerror"], answer["filename"])
    kind = getattr(errors, str(answer.get("error")), UnpackError)
    error: ReespackError = kind(answer.get("message", "unpacking failed"), hint=answer.get("hint"))
    return error
