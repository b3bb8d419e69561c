"""Unpacking with several processes: each reads its own frames and writes the files in them.

Threads would not do: a small file takes a handful of short system calls, and after each of them a
thread of Python's waits for the others. Nothing but numbers is passed between the processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack import errors
from reespack.archive.frames import Frame, decompressed, find_frames, form_of
from reespack.archive.header import END, member_size
from reespack.archive.listing import Member
from reespack.errors import ReespackError, UnpackError
from reespack.unpack.extract import extract, read_mending
from reespack.unpack.stream import TarStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reespack.unpack.head import Head

__all__ = ["Range", "extract_in_processes", "main", "split"]

_BYTES = 24 << 20
_FILES = 1000
_SMALLEST = 48 << 20
"""Bytes below which another process takes longer to start than it would save."""

_START = "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
_RUN = "from reespack.unpack.processes import main; main()"


@dataclass(frozen=True, slots=True)
class Range:
    """Frames that follow each other, and the members that are in them."""

    frames: tuple[Frame, ...]
    members: tuple[Member, ...]

    def encoded(self) -> bytes:
        """Return a line that `decode` understands."""
        frames = [[frame.offset, frame.length, frame.form, frame.size] for frame in self.frames]
        members = [[one.path, one.kind, one.size, one.value] for one in self.members]
        return json.dumps([frames, members]).encode() + b"\n"

    @classmethod
    def decode(cls, line: str) -> Range:
        """Return the range that a line stands for."""
        frames, members = json.loads(line)
        return cls(
            tuple(Frame(offset=a, length=b, form=c, size=d) for a, b, c, d in frames),
            tuple(Member(*fields) for fields in members),
        )


def split(archive: Path, head: Head) -> tuple[Range, ...]:
    """Cut the archive where a frame begins with a member; empty when there is little to gain.

    Also when its index and its listing do not agree: reading it in order finds out why.
    """
    frames = find_frames(archive, form_of(archive))
    if len(frames) < 3 or sum(frame.size for frame in frames) < _SMALLEST:  # noqa: PLR2004
        return ()
    place = sum(frame.size for frame in frames[:2])  # the manifest's, and the lists'
    starts = {}
    for number, member in enumerate(head.body, start=len(head.members) - len(head.body)):
        starts[place] = number
        place += member_size(member)
    starts[place] = len(head.members)
    if sum(frame.size for frame in frames) < place + len(END):
        return ()
    return tuple(_ranges(frames, head.members, starts))


def _ranges(
    frames: tuple[Frame, ...], members: tuple[Member, ...], starts: dict[int, int]
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
            yield Range(frames[first : number + 1], members[starts[begin] : member])
            first, begin = number + 1, place


def extract_in_processes(  # noqa: PLR0913 - what goes where, and who does it
    archive: Path,
    root: Path,
    head: Head,
    ranges: Sequence[Range],
    *,
    mtime: int,
    processes: int,
    advance: Callable[[int], None],
) -> None:
    """Have `processes` others write the files of all ranges; raise what the first to fail says."""
    task = {
        "archive": str(archive),
        "root": str(root),
        "prefix": os.fsdecode(head.mending.prefix),
        "placeholders": head.placeholders.decode(),
        "mtime": mtime,
    }
    queue = iter(ranges)
    lock = threading.Lock()
    failed = threading.Event()

    def work() -> None:
        with subprocess.Popen(
            [sys.executable, "-I", "-c", _START + _RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                _converse(process, task, next_range, advance)
            except BaseException:
                failed.set()
                process.kill()
                raise

    def next_range() -> Range | None:
        with lock:
            return None if failed.is_set() else next(queue, None)

    count = min(processes, len(ranges))
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(work) for _ in range(count)]
        try:
            for future in futures:
                future.result()
        finally:
            failed.set()


def _converse(
    process: subprocess.Popen[bytes],
    task: dict[str, Any],
    next_range: Callable[[], Range | None],
    advance: Callable[[int], None],
) -> None:
    """Give a process one range after the other, until there are none or it fails."""
    send, receive = process.stdin, process.stdout
    if send is None or receive is None:
        raise UnpackError("a process for unpacking has no pipes")
    try:
        send.write(json.dumps([path for path in sys.path if path]).encode() + b"\n")
        send.write(json.dumps(task).encode() + b"\n")
        while given := next_range():
            send.write(given.encoded())
            send.flush()
            answer = json.loads(receive.readline() or b"{}")
            if "done" not in answer:
                raise _error(answer)
            advance(answer["done"])
        send.close()
    except (BrokenPipeError, json.JSONDecodeError) as error:
        raise _error({}) from error


def _error(answer: dict[str, Any]) -> ReespackError | OSError:
    """Return the error that a process told, as an error of this one."""
    if "errno" in answer:
        return OSError(answer["errno"], answer["strerror"], answer["filename"])
    kind = getattr(errors, str(answer.get("error")), UnpackError)
    message = answer.get("message", "a process for unpacking ended too early")
    error: ReespackError = kind(message, hint=answer.get("hint"))
    return error


def main() -> None:
    """Be one of the processes: read ranges from stdin, write files, answer with their bytes."""
    task = json.loads(sys.stdin.readline())
    root = Path(task["root"])
    try:
        mending = read_mending(task["placeholders"].encode(), os.fsencode(task["prefix"]))
        with Path(task["archive"]).open("rb") as file:
            for line in sys.stdin:
                given = Range.decode(line)
                stream = TarStream(decompressed(file.fileno(), frame) for frame in given.frames)
                stream.mtime = task["mtime"]
                extract(stream, given.members, root, mending, lambda _: None)
                stream.require_end(0)
                _answer({"done": sum(member.size for member in given.members)})
    except ReespackError as error:
        _answer({"error": type(error).__name__, "message": error.message, "hint": error.hint})
    except OSError as error:
        _answer({"errno": error.errno, "strerror": error.strerror, "filename": error.filename})


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
