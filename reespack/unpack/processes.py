"""Unpacking with several processes: each reads its own frames and writes the files in them.

Threads would not do: a small file takes a handful of short system calls, and after each of them a
thread of Python's waits for the others. What the processes are told is little more than numbers
(see `extractor`, and `worker` for what they are). This process reads the listing and makes the
folders first, and does next to nothing then: there are as many others as there are cores.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import select
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from reespack import errors
from reespack.archive.frames import Frame, find_frames, form_of
from reespack.archive.header import END, member_sizes
from reespack.errors import ReespackError, UnpackError, VerificationError
from reespack.unpack.worker import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from reespack.archive.listing import Lines
    from reespack.unpack.head import Head
    from reespack.unpack.worker import Worker

__all__ = ["Extractors", "Range", "Task", "extractors"]

_HEAD_FRAMES = 2
"""The manifest's, and that of the lists."""

_BYTES = 6 << 20
_FILES = 400
_SMALLEST = 48 << 20
"""Bytes below which another process takes longer to start than it would save."""

_AHEAD = 2
"""How much a process is asked for at once, so that it need not wait for this one."""


class Range(NamedTuple):
    """Frames that follow each other, and where the lines for what is in them begin, and end."""

    frames: tuple[Frame, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes of tar there are to do."""
        return sum(frame.size for frame in self.frames)

    def encoded(self) -> bytes:
        """Return it as a process reads it."""
        return _line(range=[self.frames, self.begin, self.end - self.begin])


class Task(NamedTuple):
    """What all processes are told: what to unpack, where to, and whether to take files' sums.

    The files of the head are there already, and all folders.
    """

    archive: Path
    root: Path
    prefix: Path
    mtime: int
    sums: bool

    def encoded(self) -> bytes:
        """Return it as a process reads it."""
        return _line(
            task={
                "archive": str(self.archive),
                "root": str(self.root),
                "prefix": str(self.prefix),
                "mtime": self.mtime,
                "sums": self.sums,
            }
        )


def _line(**request: object) -> bytes:
    return json.dumps(request).encode() + b"\n"


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


class Extractors:
    """Processes that are ready, which may be none, and the frames of the archive."""

    def __init__(self, frames: tuple[Frame, ...], workers: list[Worker]) -> None:
        self.frames = frames
        self.workers = workers

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

    def extract(
        self, task: Task, head: Head, batches: Iterable[Lines], advance: Callable[[int], None]
    ) -> None:
        """Have all files of the body written; `batches` are its members.

        What is largest comes first, as soon as the listing has been read, so that all processes end
        at about the same time. Raises what the first one to fail says, or what is wrong with a
        member.
        """
        for worker in self.workers:
            self._send(worker, worker.tell, task.encoded())
        waiting: list[Range] = []
        for given in _ranges(self.frames, self._start, batches, head):
            waiting.append(given)
            self._hear(self.workers, advance, wait=False)
            while waiting and any(worker.asked < _AHEAD for worker in self.workers):
                self._ask(waiting.pop(0).encoded(), advance)
        for given in sorted(waiting, key=attrgetter("size"), reverse=True):
            self._ask(given.encoded(), advance)
        self._wait(advance)
        for worker in self.workers:
            worker.let_go()

    def _ask(self, request: bytes, advance: Callable[[int], None] | None = None) -> None:
        """Ask whoever has the least to do, once there is one without enough."""
        while (worker := min(self.workers, key=attrgetter("asked"))).asked >= _AHEAD:
            self._hear(self.workers, advance)
        self._send(worker, worker.ask, request)

    def _wait(self, advance: Callable[[int], None] | None = None) -> None:
        while busy := [worker for worker in self.workers if worker.asked]:
            self._hear(busy, advance)

    def _send(self, worker: Worker, send: Callable[[bytes], None], line: bytes) -> None:
        try:
            send(line)
        except BrokenPipeError:
            while True:  # until it has said why, or that it says nothing more
                self._hear([worker], None)

    def _hear(
        self,
        workers: Sequence[Worker],
        advance: Callable[[int], None] | None,
        *,
        wait: bool = True,
    ) -> None:
        """Wait until one of them says something, or not; raise the error that it tells."""
        poll = select.poll()
        for worker in workers:
            poll.register(worker, select.POLLIN)
        ready = {handle for handle, _ in poll.poll(None if wait else 0)}
        for worker in workers:
            if worker.fileno() not in ready:
                continue
            try:
                answers = list(map(json.loads, worker.answers()))
            except (EOFError, ValueError) as error:
                raise UnpackError(
                    "a process for unpacking ended too early", hint="try again"
                ) from error
            for answer in answers:
                if "done" not in answer:
                    raise _error(answer)
                if advance:
                    advance(answer["done"])


def _ranges(
    frames: Sequence[Frame], start: int, batches: Iterable[Lines], head: Head
) -> Iterator[Range]:
    """Cut the archive where a frame begins with a member of the body, which comes in `batches`.

    `start` is how many bytes of tar stand before it, in the first two frames. Raises
    VerificationError when the archive's index and its listing do not agree.
    """
    ends = list(itertools.accumulate(frame.size for frame in frames))
    lengths = map(len, io.BytesIO(head.listing))
    # Where each member begins in the tar file, and its line in the listing.
    places, lines = [start], [sum(itertools.islice(lengths, len(head.first.paths)))]
    frame = first_frame = _HEAD_FRAMES
    first = 0
    for batch in batches:
        _go_on(places, member_sizes(zip(*batch, strict=True)))
        _go_on(lines, itertools.islice(lengths, len(batch.paths)))
        while frame < len(frames) - 1 and (place := ends[frame]) <= places[-1]:
            frame += 1
            member = bisect_left(places, place, lo=first)
            enough = place - places[first] >= _BYTES or member - first >= _FILES
            if enough and places[member] == place:  # else in the middle of a member
                yield Range(tuple(frames[first_frame:frame]), lines[first], lines[member])
                first_frame, first = frame, member
    if ends[-1] < places[-1] + len(END):
        raise VerificationError(
            "the archive's index does not fit its listing", hint="fetch or build it again"
        )
    yield Range(tuple(frames[first_frame:]), lines[first], lines[-1])


def _go_on(places: list[int], lengths: Iterable[int]) -> None:
    """Add where things end that come one after the other."""
    places += itertools.islice(itertools.accumulate(lengths, initial=places[-1]), 1, None)


def _error(answer: dict[str, Any]) -> ReespackError | OSError:
    """Return the error that a process told, as an error of this one."""
    if "errno" in answer:
        return OSError(answer["errno"], answer["strerror"], answer["filename"])
    kind = getattr(errors, str(answer.get("error")), UnpackError)
    error: ReespackError = kind(answer.get("message", "unpacking failed"), hint=answer.get("hint"))
    return error
