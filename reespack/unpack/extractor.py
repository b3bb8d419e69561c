"""What a process does that writes the files of one range of an archive after the other.

It reads a JSON line with the task, then for each range a JSON line with its frames and the length
in bytes of its lines of the listing, and those lines as they are. It answers each with a JSON line.
"""

from __future__ import annotations

import functools
import gc
import json
import os
from typing import TYPE_CHECKING

from reespack.archive.frames import Frame
from reespack.archive.listing import read_lines
from reespack.errors import ReespackError
from reespack.unpack.extract import NewFiles, extract, read_mending
from reespack.unpack.stream import TarStream

if TYPE_CHECKING:
    from typing import BinaryIO

    from reespack.archive.decompressor import Decompressor

__all__ = ["serve"]


def serve(requests: BinaryIO, answers: BinaryIO, decompressor: Decompressor) -> None:
    """Write what is asked for until there are no more requests, or something fails."""
    gc.disable()  # no cycles are made here, so looking for them is in vain
    try:
        if line := requests.readline():
            _work(json.loads(line), requests, answers, decompressor)
    except ReespackError as error:
        kind = type(error).__name__
        _answer(answers, error=kind, message=error.message, hint=error.hint)
    except OSError as error:
        _answer(answers, errno=error.errno, strerror=error.strerror, filename=error.filename)


def _work(
    task: dict[str, str | int | bool],
    requests: BinaryIO,
    answers: BinaryIO,
    decompressor: Decompressor,
) -> None:
    files = NewFiles(str(task["root"]), int(task["mtime"]))
    prefix, placeholders = os.fsencode(str(task["prefix"])), str(task["placeholders"]).encode()
    mending = read_mending(placeholders, prefix)
    with open(str(task["archive"]), "rb") as file:  # noqa: PTH123 - pathlib takes long to import
        for line in requests:
            given, length = json.loads(line)
            members = read_lines(requests.read(length))
            frames = map(Frame._make, given)
            # Either the archive's sum is taken, or each file's: the frames' own are not needed.
            stream = TarStream(
                map(functools.partial(decompressor.decompressed, file.fileno()), frames)
            )
            stream.mtime = int(task["mtime"])
            extract(stream, members, files, mending, sums=bool(task["sums"]))
            stream.require_end(0)
            _answer(answers, done=len(given))


def _answer(answers: BinaryIO, **answer: object) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()
