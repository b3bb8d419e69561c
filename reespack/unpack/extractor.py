"""What a process does that writes the files of one range of an archive after the other.

It reads a JSON object a line: a `task`, which it does not answer, says which archive goes where; a
`range` has some frames, and the place of their lines in the listing that was unpacked with the
head. It answers with a JSON object a line.
"""

from __future__ import annotations

import functools
import gc
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import LISTING
from reespack.archive.conda_unpack import PLACEHOLDERS
from reespack.archive.frames import Frame
from reespack.archive.listing import read_lines
from reespack.errors import ReespackError
from reespack.unpack.extract import NewFiles, extract, read_mending
from reespack.unpack.stream import TarStream

if TYPE_CHECKING:
    from typing import BinaryIO

    from reespack.archive.decompressor import Decompressor
    from reespack.unpack.extract import Mending

__all__ = ["serve"]


def serve(requests: BinaryIO, answers: BinaryIO, decompressor: Decompressor) -> None:
    """Do what is asked for until there are no more requests, or something fails."""
    gc.disable()  # no cycles are made here, so looking for them is in vain
    task: _Task
    try:
        for line in requests:
            request = json.loads(line)
            if "task" in request:
                task = _begun(**request["task"])
            else:
                frames, offset, length = request["range"]
                _write(task, decompressor, list(map(Frame._make, frames)), offset, length)
                _answer(answers, done=sum(frame[-1] for frame in frames))
    except ReespackError as error:
        kind = type(error).__name__
        _answer(answers, error=kind, message=error.message, hint=error.hint)
    except OSError as error:
        _answer(answers, errno=error.errno, strerror=error.strerror, filename=error.filename)


class _Task(NamedTuple):
    """What is the same for all ranges; `archive` and `listing` are open files."""

    archive: int
    listing: int
    files: NewFiles
    mending: Mending
    mtime: int
    sums: bool


def _begun(*, archive: str, root: str, prefix: str, mtime: int, sums: bool) -> _Task:
    handle = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
    os.chdir(root)  # every file's path is looked up from here
    with open(PLACEHOLDERS, "rb") as file:  # noqa: PTH123 - pathlib is slow to import
        mending = read_mending(file.read(), os.fsencode(prefix))
    return _Task(
        archive=handle,
        listing=os.open(LISTING, os.O_RDONLY | os.O_CLOEXEC),
        files=NewFiles("."),
        mending=mending,
        mtime=mtime,
        sums=sums,
    )


def _write(
    task: _Task, decompressor: Decompressor, frames: list[Frame], offset: int, length: int
) -> None:
    lines = read_lines(os.pread(task.listing, length, offset))
    # Either the archive's sum is taken, or each file's: the frames' own are not needed.
    stream = TarStream(map(functools.partial(decompressor.decompressed, task.archive), frames))
    stream.mtime = task.mtime
    extract(stream, lines, task.files, task.mending, sums=task.sums)
    stream.require_end(0)


def _answer(answers: BinaryIO, **answer: object) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()
