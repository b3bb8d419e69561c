"""A process that writes the files of one range of an archive after the other.

It reads from stdin: a JSON line with the task, then for each range a JSON line with its frames and
the length in bytes of its lines of the listing, and those lines as they are. It answers each with a
JSON line. Nothing heavy is imported: it must be ready when the listing has been read.
"""

from __future__ import annotations

import gc
import json
import os
import sys

from reespack.archive.frames import Frame, decompressed
from reespack.archive.listing import read_lines
from reespack.errors import ReespackError
from reespack.unpack.extract import NewFiles, extract, read_mending
from reespack.unpack.stream import TarStream

__all__ = ["main"]


def main() -> None:
    """Write what stdin asks for, until it ends."""
    gc.disable()  # no cycles are made here, so looking for them is in vain
    try:
        line = sys.stdin.buffer.readline()
        if line:
            _work(json.loads(line))
    except ReespackError as error:
        _answer({"error": type(error).__name__, "message": error.message, "hint": error.hint})
    except OSError as error:
        _answer({"errno": error.errno, "strerror": error.strerror, "filename": error.filename})


def _work(task: dict[str, str | int | bool]) -> None:
    files = NewFiles(str(task["root"]), int(task["mtime"]))
    prefix, placeholders = os.fsencode(str(task["prefix"])), str(task["placeholders"]).encode()
    mending = read_mending(placeholders, prefix)
    with open(str(task["archive"]), "rb") as file:  # noqa: PTH123 - pathlib takes long to import
        for line in sys.stdin.buffer:
            given, length = json.loads(line)
            members = read_lines(sys.stdin.buffer.read(length))
            frames = map(Frame._make, given)
            # Either the archive's sum is taken, or each file's.
            pieces = (decompressed(file.fileno(), frame, checked=False) for frame in frames)
            stream = TarStream(pieces)
            stream.mtime = int(task["mtime"])
            extract(stream, members, files, mending, sums=bool(task["sums"]))
            stream.require_end(0)
            _answer({"done": len(given)})


def _answer(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
