"""The tar of one frame: in memory but for what is still to be read, or none of it in memory yet."""

from __future__ import annotations

import itertools
import mmap
import operator
import os
import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import FRAME_SIZE
from reespack.archive.header import BLOCK, padding
from reespack.errors import PackError

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

__all__ = ["LARGE", "MOST", "PART", "Block", "LargeFile", "Part", "Piece", "Rooms"]

LARGE = FRAME_SIZE // 2
"""From this many bytes on a file has frames of its own."""

MOST = FRAME_SIZE + LARGE
"""Bytes in a block behind which another file that is not large finds room."""

PART = 2 * FRAME_SIZE
"""Bytes of a large file in one frame: it is the smaller the more of the file is in it."""

_ROOM = max(MOST + LARGE, PART) + 16 * BLOCK
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
    compressed. `key` says what is in the block, and `binary` that it is libraries or (of) one large
    file.
    """

    in_memory = True

    __slots__ = ("_lock", "binary", "key", "later", "length", "view")

    def __init__(self) -> None:
        # Not a bytearray, which would take all of it at once; and not shared, as mmap's default is,
        # for Linux keeps what is shared as a file of tmpfs, which takes longer.
        self.view = memoryview(mmap.mmap(-1, _ROOM, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.length = 0
        self.key = ""
        self.binary = False
        self.later: list[Piece] = []

    def append(self, content: Buffer) -> None:
        """Put something behind what is there."""
        end = self.length + len(content)
        self.view[self.length : end] = content
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
                        place = self.view[piece.start : piece.start + piece.size]
                        _fill(place, source.fileno(), piece.offset, file)
        except OSError as error:
            raise _unreadable(file, error) from error
        self.later = []


class LargeFile:
    """A file that is open, whatever becomes of its name, until nobody refers to this any more."""

    __slots__ = ("__weakref__", "handle", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self.handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(name, error) from error
        weakref.finalize(self, os.close, self.handle)


class Rooms:
    """Blocks that nobody uses, so that few are ever made; for any thread.

    Those that were parts of large files are kept apart: they have used more memory, and there are
    never more of them than threads.
    """

    def __init__(self) -> None:
        self._spare: list[Block] = []
        self._spare_for_parts: list[Block] = []
        self._enough = False

    def take(self) -> Block:
        """Return an empty block."""
        return _taken(self._spare)

    def take_for_part(self) -> Block:
        """Return one for a part of a large file."""
        return _taken(self._spare_for_parts)

    def close(self) -> None:
        """Give up all blocks that are not for parts: there are no more files to read."""
        self._enough = True
        self._spare.clear()

    def recycle(self, used: Block | Part) -> None:
        """Take back a block, or that which a part was read into."""
        if isinstance(used, Block):
            if not self._enough:
                used.clear()
                self._spare.append(used)
        elif used.room is not None:
            used.room.clear()
            self._spare_for_parts.append(used.room)


def _taken(spare: list[Block]) -> Block:
    try:
        return spare.pop()
    except IndexError:
        return Block()


class Part:
    """`size` bytes from `offset` of a large file, for a frame of their own.

    `before` is a header or nothing, and `after` the number of zeros behind. Only while it is
    compressed it takes room, of one of the `rooms`; until then the file may be removed.
    """

    __slots__ = ("_before", "_file", "_offset", "_rooms", "_size", "key", "length", "room")

    in_memory = False
    binary = True

    def __init__(  # noqa: PLR0913 - what it consists of
        self, key: str, file: LargeFile, *, before: bytes, offset: int, size: int, after: int,
        rooms: Rooms,
    ) -> None:  # fmt: skip
        self.key = key
        self.length = len(before) + size + after
        self.room: Block | None = None
        self._file = file
        self._before = before
        self._offset = offset
        self._size = size
        self._rooms = rooms

    def content(self) -> memoryview:
        """Read it, and return it; raise PackError when it is not there."""
        self.room = room = self._rooms.take_for_part()
        room.append(self._before)
        end = room.length + self._size
        try:
            _fill(room.view[room.length : end], self._file.handle, self._offset, self._file.name)
        except OSError as error:
            raise _unreadable(self._file.name, error) from error
        room.length = end
        room.append(bytes(self.length - end))
        return room.content()

    def read(self) -> None:
        """Do nothing: it can be read at any time."""


def _fill(place: memoryview, handle: int, offset: int, name: str) -> None:
    done = 0
    while done < len(place):
        count = os.preadv(handle, [place[done:]], offset + done)
        if not count:
            raise PackError(f"{name} became shorter while it was packed")
        done += count


def _unreadable(name: str, error: OSError) -> PackError:
    return PackError(f"{name} cannot be read: {error.strerror}")
