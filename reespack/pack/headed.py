"""A file whose beginning is known last: frames behind a room that the head is put into."""

from __future__ import annotations

import hashlib
import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Frame = tuple[bytes, int]

__all__ = ["HeadedFile"]

_CHUNK = 1 << 20

_AT_ONCE = 1 << 19
"""Bytes that are written at once. For more, Linux puts them into pages of up to 2 MiB; a virtual
machine may have given back memory in such pieces, and each must then be asked for again. Each write
gives up Python's lock, which other threads then have, so that it is not less either."""


class HeadedFile:
    """Frames on their way into a file, of which the first `room` bytes are left free.

    `sizes` are the (compressed, plain) sizes of all frames, in bytes. The sha256 of the whole is
    computed from when the head is there.
    """

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file = file
        self._room = room
        self._digest = hashlib.sha256()
        self._headed = False
        self.sizes: list[tuple[int, int]] = []
        file.seek(room)

    def append(self, frame: bytes, plain: int) -> None:
        """Write a frame, which holds `plain` bytes, behind all others."""
        self.sizes.append((len(frame), plain))
        self.end(frame)

    def end(self, content: bytes) -> None:
        """Write what is no frame behind all frames."""
        with memoryview(content) as view:
            for start in range(0, len(content), _AT_ONCE):
                self._file.write(view[start : start + _AT_ONCE])
        if self._headed:
            self._digest.update(content)

    def put_head(
        self,
        frames: Sequence[Frame],
        gap: Callable[[int], bytes | None],
        meanwhile: Callable[[], object],
    ) -> None:
        """Write the first frames, and behind them a gap, which has an entry of its own in `sizes`.

        Where `gap` finds nothing to fill the room with, everything else is moved to fit. While the
        sum of what is there is taken, `meanwhile` is called again and again, and may append.
        """
        head = b"".join(frame for frame, _ in frames)
        filler = gap(self._room - len(head))
        if filler is None:
            filler = b""
            self._move(len(head))
        self._file.seek(0)
        self._file.write(head + filler)
        entries = [(len(frame), plain) for frame, plain in frames]
        self.sizes[:0] = [*entries, (len(filler), 0)] if filler else entries
        buffer = bytearray(_CHUNK)
        done = 0
        with memoryview(buffer) as view:
            while count := self._read(view, done):
                self._digest.update(view[:count])
                done += count
                meanwhile()
        self._headed = True

    def _read(self, view: memoryview, offset: int) -> int:
        """Read from a place, and return how many bytes; what comes next is written at the end."""
        self._file.seek(offset)
        count: int = self._file.readinto(view)  # type: ignore[attr-defined]
        self._file.seek(0, os.SEEK_END)
        return count

    def _move(self, start: int) -> None:
        """Move what stands behind the room to `start`, in an order that overwrites nothing."""
        end = self._file.seek(0, os.SEEK_END)
        pieces = range(self._room, end, _CHUNK)
        for piece in pieces if start < self._room else reversed(pieces):
            self._file.seek(piece)
            content = self._file.read(min(_CHUNK, end - piece))
            self._file.seek(start + piece - self._room)
            self._file.write(content)
        self._file.truncate(start + end - self._room)

    def finish(self) -> tuple[str, int]:
        """Return the sha256 and the size of all that was written."""
        self._file.flush()
        return self._digest.hexdigest(), self._file.tell()
