"""Decompressing many frames one after the other, as those do who write all files of an archive."""

from __future__ import annotations

import contextlib
import mmap
import zlib
from typing import TYPE_CHECKING

from reespack.archive.frames import LARGEST, damaged, gunzip, read_frame

if TYPE_CHECKING:
    from reespack.archive.frames import Frame

__all__ = ["Decompressor"]

_DESCRIPTOR, _HAS_CHECKSUM, _CHECKSUM_SIZE = 4, 1 << 2, 4
"""Which byte of a zstd frame says in which bit that so many bytes at its end are a checksum
(RFC 8878, 3.1.1)."""

_WRONG_SIZE = "a frame is not as large as the index says"

_HUGE_PAGE = 1 << 21
"""Bytes of a huge page, on most machines; where it is another, less of the memory is in them."""


class Decompressor:
    """Decompresses one frame after the other into memory that it keeps, and leaves out their sums.

    It is for whoever takes a better sum of the same bytes: that of a zstd frame is a tenth of the
    work.
    """

    def __init__(self) -> None:
        import zstandard

        self._zstd = zstandard.ZstdDecompressor()
        self._errors = (zlib.error, ValueError, zstandard.ZstdError)
        self._compressed = _Memory()
        self._plain = _Memory()

    def decompressed(self, handle: int, frame: Frame) -> memoryview:
        """Return the plain bytes of one frame, which are there until the next one is asked for.

        Raises VerificationError when it is damaged.
        """
        content = self._compressed.view(frame.length)
        read_frame(handle, content, frame)
        try:
            if frame.form == "zst":
                return self._unzstd(content, frame.size)
            plain_bytes = memoryview(gunzip(content))
            if len(plain_bytes) != frame.size:
                raise ValueError(_WRONG_SIZE)
        except self._errors as error:
            raise damaged(frame.offset, error) from error
        return plain_bytes

    def _unzstd(self, content: memoryview, size: int) -> memoryview:
        if not 0 < size <= LARGEST:
            raise ValueError("a frame is larger than any should be")
        if len(content) > _DESCRIPTOR and content[_DESCRIPTOR] & _HAS_CHECKSUM:
            content[_DESCRIPTOR] &= ~_HAS_CHECKSUM
            content = content[:-_CHECKSUM_SIZE]
        plain_bytes = self._plain.view(size)
        # With all of a frame, and room for all of it, this is a single step, straight to its place.
        reader = self._zstd.stream_reader(content)
        if reader.readinto(plain_bytes) != size or reader.read(1):
            raise ValueError(_WRONG_SIZE)
        return plain_bytes


class _Memory:
    """Memory that is asked for once, and again only for more: in huge pages, where there are any.

    Frames are as large as several of these, and are gone through in no order.
    """

    def __init__(self) -> None:
        self._view = memoryview(b"")

    def view(self, size: int) -> memoryview:
        """Return `size` bytes of it; what they are is left from before."""
        if size > len(self._view):
            whole = -(-size // _HUGE_PAGE) * _HUGE_PAGE
            memory = mmap.mmap(-1, whole, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                with contextlib.suppress(OSError):  # a kernel without them
                    memory.madvise(mmap.MADV_HUGEPAGE)
            self._view = memoryview(memory)
        return self._view[:size]
