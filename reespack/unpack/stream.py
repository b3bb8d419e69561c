"""The members of a tar archive, in order, each held against the listing while it streams."""

from __future__ import annotations

import functools
import tarfile
from collections import deque
from concurrent.futures import wait
from typing import TYPE_CHECKING

from reespack.archive import LISTING, MANIFEST
from reespack.archive.frames import decompressed, find_frames, form_of, plain
from reespack.archive.header import BLOCK, header, padding
from reespack.archive.listing import Member, parse_listing
from reespack.errors import UnpackError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from reespack.archive.frames import Frame

__all__ = ["TarStream", "blocks", "read_unlisted", "require_tar"]

_LARGEST_MANIFEST = 1 << 28


class TarStream:
    """Plain bytes in order, taken by count; `mtime` is known once the manifest has been read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self.mtime = 0

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes; raise VerificationError when there are not as many."""
        while count and not self._piece:  # most of the time, all of it is in the next one
            self._piece = memoryview(self._next())
        if count <= len(self._piece):
            taken, self._piece = self._piece[:count], self._piece[count:]
            return taken
        gathered = bytearray(self._piece)
        while len(gathered) < count:
            gathered += self._next()
        self._piece = memoryview(gathered)[count:]
        return memoryview(gathered)[:count]

    def some(self, most: int) -> memoryview:
        """Return between one and `most` of the next bytes, without putting any together."""
        if not self._piece:
            self._piece = memoryview(self._next())
        return self.take(min(most, len(self._piece)))

    def require_end(self, least: int) -> None:
        """Raise VerificationError unless nothing but zeros follows, and at `least` so many."""
        rest = self._piece
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

    def _next(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        raise VerificationError("the archive is truncated", hint="fetch or build it again")


def require_tar(archive: Path) -> str:
    """Return the compression of a tar archive: zst or gz."""
    form = form_of(archive)
    if form == "squashfs":
        raise UnpackError(f"{archive} is a squashfs image")
    return form


def blocks(
    archive: Path, pool: Executor, ahead: int, *, damaged: list[str] | None = None
) -> Generator[bytes, None, None]:
    """Yield an archive's plain bytes in pieces; frames are decompressed by `pool`, some ahead.

    Where there is no index (another program compressed it anew), they come one after the other.
    With `damaged`, a damaged frame is named there and zeros come in its place, so that what is in
    the others can be looked at.
    """
    form = require_tar(archive)
    frames = find_frames(archive, form)
    if not frames:
        yield from plain(archive, form)
        return
    with archive.open("rb") as file:
        work = functools.partial(_decompressed, file.fileno(), damaged)
        pending: deque[Future[bytes]] = deque()
        try:
            for frame in frames:
                pending.append(pool.submit(work, frame))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)


def _decompressed(handle: int, damaged: list[str] | None, frame: Frame) -> bytes:
    try:
        return decompressed(handle, frame)
    except VerificationError as error:
        if damaged is None:
            raise
        damaged.append(error.message)
        return bytes(frame.size)


def read_unlisted(stream: TarStream, path: str) -> bytes:
    """Return the manifest or the listing, which must come next."""
    block = bytes(stream.take(BLOCK))
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise VerificationError(
            f"the archive has no tar header where {path} should be: {error}"
        ) from error
    if path == MANIFEST:
        stream.mtime = int(info.mtime)
    expected = header(Member(path, "0644", info.size, "-"), stream.mtime)
    if info.name != path or block != expected or info.size > _LARGEST_MANIFEST:
        raise UnpackError(
            f"the archive has {info.name!r} where {path} should be: it was not made by reespack",
            hint="archives of conda-pack are unpacked with tar -xf and conda-unpack",
        )
    content = bytes(stream.take(info.size))
    stream.take(padding(info.size))
    return content


def read_listing(stream: TarStream) -> tuple[bytes, tuple[Member, ...]]:
    """Return the listing as it is, and what it says."""
    content = read_unlisted(stream, LISTING)
    return content, parse_listing(content)


def require_header(stream: TarStream, member: Member) -> None:
    """Raise VerificationError unless the next header is the one that the listing calls for."""
    expected = header(member, stream.mtime)
    present = bytes(stream.take(len(expected)))  # a view would be compared byte by byte
    if present != expected:
        raise VerificationError(
            f"the archive does not have {member.path!r} where its listing says",
            hint="it is damaged or was altered; fetch or build it again",
        )
