"""The compressed pieces of an archive: each by itself, so that many can be made or read at once.

tar.zst: zstd frames, then an index in the form of Facebook's seekable format (a skippable frame
that every zstd reader passes over): https://github.com/facebook/zstd/blob/dev/contrib/seekable_format
Another skippable frame may be a gap, full of zeros; in the index it is one that unpacks to nothing.
tar.gz: gzip members, each with its own length in an extra field `RP` of its header (RFC 1952).
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from reespack.errors import UnpackError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    Buffer = bytes | bytearray | memoryview

__all__ = [
    "LARGEST",
    "Codec",
    "Frame",
    "GzipCodec",
    "ZstdCodec",
    "damaged",
    "decompressed",
    "find_frames",
    "form_of",
    "gunzip",
    "plain",
    "read_frame",
]

ZSTD_LEVEL = 3
_TEXT = {"hash_log": 16, "chain_log": 14}
_BINARY = {"hash_log": 18, "chain_log": 16}
"""Tables for long and for short matches, the logarithms of their numbers of entries. Larger ones
make libraries smaller, and hardly text; and they are slower, the more so where a core's own cache
is small."""

_ZSTD = {"window_log": 23, "write_checksum": True}
"""A window as large as most frames."""

GZIP_LEVEL = 6
LARGEST = 1 << 28
"""Bytes that a frame may unpack to before it is taken for an attack."""

_SKIPPABLE = 0x184D2A5E
_GAP = 0x184D2A50
_SEEKABLE = 0x8F92EAB1
_FOOTER = struct.Struct("<IBI")
_ENTRY = struct.Struct("<II")
_GZIP = struct.Struct("<4sI2sH2sHI")
_GZIP_START = b"\x1f\x8b\x08\x04"
_CHUNK = 1 << 20

_THREAD = threading.local()
"""Each thread's own decompressor: they cannot be shared, and a new one costs a tenth of a frame."""


class Codec(Protocol):
    """One way of compressing."""

    @property
    def identity(self) -> str:
        """Name all that a frame's bytes depend on beside the block."""

    def compress(self, block: Buffer, /, *, binary: bool = False) -> bytes:
        """Compress a block into a frame of its own; may be called from any thread.

        `binary` says that it is of libraries, or of one large file; whoever reads it need not know.
        """

    def index(self, frames: Sequence[tuple[int, int]], /) -> bytes:
        """Return what follows the last frame; `frames` are (compressed, plain) sizes."""

    def gap(self, size: int, /) -> bytes | None:
        """Return `size` bytes that readers pass over; None when that cannot be."""


class ZstdCodec:
    """Zstandard frames near level 3, each with a checksum, and an index of them."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def identity(self) -> str:
        """Return the library's version, the level and the tables."""
        import zstandard

        version = ".".join(map(str, zstandard.ZSTD_VERSION))
        return f"zstd {version} {ZSTD_LEVEL} {_ZSTD} {_TEXT} {_BINARY}"

    def compress(self, block: Buffer, *, binary: bool = False) -> bytes:
        """Compress a block with this thread's own compressors: they cannot be shared."""
        import zstandard

        name = "binary" if binary else "text"
        compressor = getattr(self._local, name, None)
        if compressor is None:
            tables = _BINARY if binary else _TEXT
            parameters = zstandard.ZstdCompressionParameters.from_level(
                ZSTD_LEVEL, **_ZSTD, **tables
            )
            compressor = zstandard.ZstdCompressor(compression_params=parameters)
            setattr(self._local, name, compressor)
        result: bytes = compressor.compress(block)
        return result

    def index(self, frames: Sequence[tuple[int, int]]) -> bytes:
        """Return the index, in a frame that other readers skip."""
        entries = b"".join(_ENTRY.pack(*sizes) for sizes in frames)
        table = entries + _FOOTER.pack(len(frames), 0, _SEEKABLE)
        return _ENTRY.pack(_SKIPPABLE, len(table)) + table

    def gap(self, size: int) -> bytes | None:
        """Return a skippable frame of zeros, whose header takes eight bytes."""
        left = size - _ENTRY.size
        if left < 0:
            return None if size else b""
        return _ENTRY.pack(_GAP, left) + bytes(left)


class GzipCodec:
    """Gzip members at level 6, without a time or a name, each with its own length."""

    @property
    def identity(self) -> str:
        """Return the library's version and the level."""
        return f"gzip {zlib.ZLIB_RUNTIME_VERSION} {GZIP_LEVEL}"

    def compress(self, block: Buffer, *, binary: bool = False) -> bytes:  # noqa: ARG002
        """Compress a block into a gzip member; it is the same way for all."""
        deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        content = deflate.compress(block) + deflate.flush()
        trailer = _ENTRY.pack(zlib.crc32(block), len(block) & 0xFFFFFFFF)
        length = _GZIP.size + len(content) + len(trailer)
        head = _GZIP.pack(_GZIP_START, 0, b"\0\xff", 8, b"RP", 4, length)
        return head + content + trailer

    def index(self, frames: Sequence[tuple[int, int]]) -> bytes:  # noqa: ARG002 - see the class
        """Return nothing: each member has its length."""
        return b""

    def gap(self, size: int) -> bytes | None:
        """Return nothing but for nothing: gzip knows no gaps."""
        return None if size else b""


class Frame(NamedTuple):
    """Where a frame lies in the file, its form, and how much it unpacks to; all in bytes."""

    offset: int
    length: int
    form: str
    size: int


def find_frames(archive: Path, form: str) -> tuple[Frame, ...]:
    """Return where the frames lie; empty when the file has no index, or not for all of it.

    Raises VerificationError when there is something in a gap.
    """
    with archive.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        find = _zstd_frames if form == "zst" else _gzip_frames
        return find(file.fileno(), size)


def _zstd_frames(handle: int, size: int) -> tuple[Frame, ...]:
    footer = os.pread(handle, _FOOTER.size, max(0, size - _FOOTER.size))
    if len(footer) < _FOOTER.size:
        return ()
    count, flags, magic = _FOOTER.unpack(footer)
    length = count * _ENTRY.size
    if magic != _SEEKABLE or flags or length > size:
        return ()
    table = os.pread(handle, length, size - _FOOTER.size - length)
    frames, gaps, offset = [], [], 0
    for compressed, size_plain in _ENTRY.iter_unpack(table):
        if size_plain:
            frames.append(Frame(offset=offset, length=compressed, form="zst", size=size_plain))
        else:
            gaps.append((offset, compressed))
        offset += compressed
    if offset + _ENTRY.size + length + _FOOTER.size != size:
        return ()
    for place, compressed in gaps:
        if os.pread(handle, compressed, place) != ZstdCodec().gap(compressed):
            raise damaged(place, ValueError("there is something in a gap"))
    return tuple(frames)


def _gzip_frames(handle: int, size: int) -> tuple[Frame, ...]:
    frames, offset = [], 0
    while head := os.pread(handle, _GZIP.size, offset):
        if len(head) < _GZIP.size or not head.startswith(_GZIP_START):
            return ()
        _, _, _, extra, name, _, length = _GZIP.unpack(head)
        if (extra, name) != (8, b"RP") or length < _GZIP.size:
            return ()
        trailer = os.pread(handle, _ENTRY.size, offset + length - _ENTRY.size)
        if len(trailer) < _ENTRY.size:
            return ()
        frames.append(
            Frame(offset=offset, length=length, form="gz", size=_ENTRY.unpack(trailer)[1])
        )
        offset += length
    return tuple(frames) if offset == size else ()


def decompressed(handle: int, frame: Frame) -> bytes:
    """Return the plain bytes of one frame; raise VerificationError when it is damaged."""
    content = bytearray(frame.length)
    read_frame(handle, content, frame)
    try:
        return _unzstd(content) if frame.form == "zst" else gunzip(content)
    except (zlib.error, ValueError) as error:
        raise damaged(frame.offset, error) from error


def read_frame(handle: int, content: bytearray | memoryview, frame: Frame) -> None:
    """Fill `content` with a frame as it lies in the file; raise VerificationError if it ends."""
    if os.preadv(handle, [content], frame.offset) != frame.length:
        raise VerificationError("the archive is truncated")


def _unzstd(content: bytearray) -> bytes:
    import zstandard

    try:
        if zstandard.frame_content_size(content) > LARGEST:
            raise ValueError("a frame is larger than any should be")
        decompressor = getattr(_THREAD, "decompressor", None)
        if decompressor is None:
            decompressor = _THREAD.decompressor = zstandard.ZstdDecompressor()
        plain_bytes: bytes = decompressor.decompress(content)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    return plain_bytes


def gunzip(content: bytearray | memoryview) -> bytes:
    """Return what a gzip member unpacks to; raise zlib.error or ValueError when it is damaged."""
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    plain_bytes = inflate.decompress(content, LARGEST)
    if not inflate.eof:
        raise ValueError("a member does not end where it says")
    return plain_bytes


def plain(archive: Path, form: str) -> Generator[bytes, None, None]:
    """Yield the plain bytes of an archive from its beginning, frames or not.

    Raise VerificationError for damage; a truncated archive merely ends early.
    """
    with archive.open("rb") as file:
        read = _zstd_reader(file) if form == "zst" else _gzip_reader(file.read)
        while True:
            try:
                content = read()
            except ValueError as error:
                raise damaged(file.tell(), error) from error
            if not content:
                return
            yield content


def _zstd_reader(file: IO[bytes]) -> Callable[[], bytes]:
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        file, read_across_frames=True, closefd=False
    )

    def piece() -> bytes:
        try:
            content: bytes = reader.read(_CHUNK)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
        return content

    return piece


def _gzip_reader(read: Callable[[int], bytes]) -> Callable[[], bytes]:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    rest = b""

    def piece() -> bytes:
        nonlocal inflate, rest
        while True:
            if inflate.eof:
                inflate, rest = zlib.decompressobj(zlib.MAX_WBITS | 16), inflate.unused_data
            content = rest or read(_CHUNK)
            if not content:
                return b""
            try:
                result = inflate.decompress(content, _CHUNK)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            rest = inflate.unconsumed_tail
            if result:
                return result

    return piece


def damaged(offset: int, error: Exception) -> VerificationError:
    """Return the error of an archive in which something is wrong at a place in bytes."""
    return VerificationError(
        f"the archive is damaged near byte {offset}: {error}",
        hint="fetch or build it again",
    )


def form_of(archive: Path) -> str:
    """Return "zst", "gz" or "squashfs" from a file's first bytes; raise UnpackError for others."""
    try:
        with archive.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UnpackError(f"{archive} cannot be read: {error.strerror}") from error
    forms = {b"\x28\xb5\x2f\xfd": "zst", b"\x1f\x8b\x08": "gz", b"hsqs": "squashfs"}
    for magic, form in forms.items():
        if start.startswith(magic):
            return form
    raise UnpackError(
        f"{archive} is no archive of reespack's",
        hint="it must be a .tar.zst, .tar.gz or .squashfs that reespack build made",
    )
