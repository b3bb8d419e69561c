"""Room for the tar of one frame, and what is still to be read into it."""

from __future__ import annotations

import itertools
import operator
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import FRAME_SIZE
from reespack.archive.header import BLOCK, padding
from reespack.errors import PackError

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

__all__ = ["LARGE", "Block", "Piece"]

LARGE = FRAME_SIZE // 2
"""From this many bytes on a file has frames of its own."""

_ROOM = FRAME_SIZE + LARGE + 16 * BLOCK
_ZEROS = bytes(BLOCK)


class Piece(NamedTuple):
    """`size` bytes from `offset` of a file, which belong at `start` of a block."""

    file: str
    offset: int
    start: int
    size: int


class Block:
    """Room for the tar of one frame, of which `length` bytes are in use.

    `later` is what is known by its digest already, so that nobody need read it unless it is to be
    compressed. `key` says what is in the block, and `large_file` whether that is (of) one file.
    """

    __slots__ = ("_lock", "buffer", "key", "large_file", "later", "length", "view")

    def __init__(self) -> None:
        self.buffer = bytearray(_ROOM)
        self.view = memoryview(self.buffer)
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.length = 0
        self.key = ""
        self.large_file = False
        self.later: list[Piece] = []

    def append(self, content: Buffer) -> None:
        """Put something behind what is there."""
        end = self.length + len(content)
        self.buffer[self.length : end] = content
        self.length = end

    def put_off(self, file: str, offset: int, size: int) -> None:
        """Leave room for a piece of a file that `content` will read."""
        self.later.append(Piece(file, offset, self.length, size))
        self.length += size

    def pad(self, size: int) -> None:
        """Put the zeros there that follow a member's content of `size` bytes."""
        self.append(_ZEROS[: padding(size)])

    def content(self) -> memoryview:
        """Return all of it, having read what was put off; raise PackError as `read` does."""
        self.read()
        return self.view[: self.length]

    def read(self) -> None:
        """Read what was put off, if nobody has; raise PackError when it is not there.

        May be called from any thread, once the block is full.
        """
        with self._lock:
            self._read_all()

    def _read_all(self) -> None:
        file = ""
        try:
            for file, pieces in itertools.groupby(self.later, operator.attrgetter("file")):
                with open(file, "rb", buffering=0) as source:  # noqa: PTH123 - names are strings here
                    for piece in pieces:
                        self._read(piece, source.fileno())
        except OSError as error:
            raise PackError(f"{file} cannot be read: {error.strerror}") from error
        self.later = []

    def _read(self, piece: Piece, handle: int) -> None:
        done = 0
        while done < piece.size:
            place = self.view[piece.start + done : piece.start + piece.size]
            count = os.preadv(handle, [place], piece.offset + done)
            if not count:
                raise PackError(f"{piece.file} became shorter while it was packed")
            done += count
