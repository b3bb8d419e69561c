"""The members of a tar archive, in order, each held against the listing while it streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.archive import MANIFEST
from reespack.archive.header import BLOCK, header, padding
from reespack.archive.listing import Member
from reespack.errors import UnpackError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TarStream", "read_unlisted", "require_header"]

_LARGEST_MANIFEST = 1 << 28
_SIZE, _MTIME = 124, 136
"""Where a header has these, in eleven octal digits each."""


class TarStream:
    """Plain bytes in order, taken by count; `mtime` is known once the manifest has been read.

    A piece, and so what is taken from it, may be gone when the next is asked for.
    """

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._view = memoryview(b"")
        self._at = 0
        self._passed = 0
        self.mtime = 0

    @property
    def position(self) -> int:
        """How many bytes have been taken."""
        return self._passed + self._at

    def take(self, count: int, *, before: int = 0, after: int = 0) -> memoryview:
        """Return `count` bytes, having passed over some `before` them, and over some `after`.

        Raises VerificationError when there are not as many.
        """
        start = self._at + before
        end = start + count
        if end + after > len(self._view):  # most of the time, all of it is in this one
            self._gather(before + count + after)
            start, end = before, before + count
        self._at = end + after
        return self._view[start:end]

    def passes(self, expected: bytes) -> bool:
        """Take as many bytes as `expected` has, and say whether they are the same."""
        end = self._at + len(expected)
        if end > len(self._view):
            self._gather(len(expected))
            end = self._at + len(expected)
        same = bytes(self._view[self._at : end]) == expected  # views compare byte by byte
        self._at = end
        return same

    def some(self, most: int) -> memoryview:
        """Return between one and `most` of the next bytes, without putting any together."""
        if self._at == len(self._view):
            self._gather(1)
        return self.take(min(most, len(self._view) - self._at))

    def require_end(self, least: int) -> None:
        """Raise VerificationError unless nothing but zeros follows, and at `least` so many."""
        rest = self._view[self._at :]
        count = 0
        while True:
            count += len(rest)
            if any(rest):
                raise VerificationError("the archive holds more than its listing says")
            piece = next(self._pieces, None)
            if piece is None:
                break
            rest = memoryview(piece)
        if count < least:
            raise VerificationError("the archive is truncated", hint="fetch or build it again")

    def _gather(self, count: int) -> None:
        """Have the next `count` bytes in one piece."""
        pieces: list[bytes | memoryview] = [bytes(self._view[self._at :])]
        there = len(pieces[0])
        while there < count:
            following = next(self._pieces, None)
            if following is None:
                raise VerificationError("the archive is truncated", hint="fetch or build it again")
            pieces.append(following if there + len(following) >= count else bytes(following))
            there += len(following)
        piece = pieces[-1] if len(pieces[-1]) == there else b"".join(pieces)
        self._passed += self._at
        self._view, self._at = memoryview(piece), 0


def read_unlisted(stream: TarStream, path: str) -> bytes:
    """Return the manifest or the listing, which must come next."""
    block = bytes(stream.take(BLOCK))
    try:
        size, mtime = (int(block[start : start + 11], 8) for start in (_SIZE, _MTIME))
    except ValueError:
        raise _foreign(block, path) from None
    if path == MANIFEST:
        stream.mtime = mtime
    expected = header(Member(path, "0644", size, "-"), stream.mtime)
    if block != expected or not 0 <= size <= _LARGEST_MANIFEST:
        raise _foreign(block, path)
    content = bytes(stream.take(size))
    stream.take(padding(size))
    return content


def _foreign(block: bytes, path: str) -> UnpackError | VerificationError:
    """Return what is to be said of an archive that has `block` where `path` should be."""
    import tarfile

    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        return VerificationError(f"the archive has no tar header where {path} should be: {error}")
    return UnpackError(
        f"the archive has {info.name!r} where {path} should be: it was not made by reespack",
        hint="archives of conda-pack are unpacked with tar -xf and conda-unpack",
    )


def require_header(stream: TarStream, member: Member) -> None:
    """Raise VerificationError unless the next header is the one that the listing calls for."""
    if not stream.passes(header(member, stream.mtime)):
        raise VerificationError(
            f"the archive does not have {member.path!r} where its listing says",
            hint="it is damaged or was altered; fetch or build it again",
        )
