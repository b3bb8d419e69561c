"""From files to blocks of tar: one pass over the prefix, each file read once and looked through.

One thread reads, scans and hashes; what it hands on is compressed elsewhere. Reading stays ahead of
two compressors by a factor of three, and one reader means that blocks are cut where their content
says, never where threads happen to meet.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reespack.archive import FRAME_SIZE
from reespack.archive.header import BLOCK, header, padding
from reespack.archive.listing import Member
from reespack.errors import LeftoverPrefixError, PackError
from reespack.pack.prefixes import Leftover

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from io import FileIO

    from reespack.model import Bytecode
    from reespack.pack.collect import Source
    from reespack.pack.conda_meta import Installed
    from reespack.pack.prefixes import BuildPrefix

__all__ = ["Blocks", "StaleBytecode", "member_bytes"]

LARGE = FRAME_SIZE // 2
"""From this many bytes on a file has frames of its own."""

_ROOM = FRAME_SIZE + LARGE + 16 * BLOCK
_ZEROS = bytes(BLOCK)


class StaleBytecode(Exception):  # noqa: N818 - no error: it is packed again, without
    """Some bytecode's source was changed, if only by a placeholder; `sources` names them all."""

    def __init__(self, sources: Collection[str]) -> None:
        super().__init__(sources)
        self.sources = sources


@dataclass(slots=True, kw_only=True)
class Blocks:
    """Iterates over blocks of tar and gathers, on the way, the members that are in them.

    Each block is (buffer, length); whoever has compressed it gives it back with `recycle`.
    """

    sources: Iterable[Source]
    prefix: BuildPrefix
    installed: Installed
    mtime: int
    advance: Callable[[int], None]
    owner: Callable[[str], str]
    members: list[Member] = field(default_factory=list)
    leftovers: list[tuple[str, str]] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=lambda: bytearray(_ROOM))
    _length: int = 0
    _spare: list[bytearray] = field(default_factory=list)
    _compiled: list[Bytecode] = field(default_factory=list)
    _bundle: FileIO | None = None

    def __iter__(self) -> Iterator[tuple[bytearray, int]]:
        """Yield the blocks; raise PackError for a file that cannot be read.

        After the last block, raise LeftoverPrefixError when a build prefix stays anywhere, and
        StaleBytecode when a source is not the one that its bytecode was compiled from.
        """
        try:
            for source in self.sources:
                try:
                    yield from self._add(source)
                except OSError as error:
                    raise PackError(f"{source.path} cannot be read: {error.strerror}") from error
                self.advance(source.size)
        finally:
            self._close_bundle()
        yield from self._flush()
        if self.leftovers:
            raise self._leftover_error()
        self._require_sources()

    def recycle(self, buffer: bytearray) -> None:
        """Take back a buffer."""
        self._spare.append(buffer)

    def _flush(self) -> Iterator[tuple[bytearray, int]]:
        if self._length:
            full, length = self._buffer, self._length
            self._buffer = self._spare.pop() if self._spare else bytearray(_ROOM)
            self._length = 0
            yield full, length

    def _add(self, source: Source) -> Iterator[tuple[bytearray, int]]:
        if source.kind in {"dir", "link", "outside"}:
            self._head(Member(source.path, source.kind, 0, source.target or "-"))
        elif source.compiled is not None:
            yield from self._add_compiled(source, source.compiled)
        elif source.content is not None:
            yield from self._add_content(source, self._replaced(source, source.content))
        elif source.size >= LARGE or source.change:
            yield from self._add_large(source)
        else:
            yield from self._add_small(source)
        if self._length >= FRAME_SIZE:
            yield from self._flush()

    def _head(self, member: Member) -> None:
        """Write a header into the block, and list the member."""
        content = header(member, self.mtime)
        end = self._length + len(content)
        self._buffer[self._length : end] = content
        self._length = end
        self.members.append(member)

    def _add_small(self, source: Source) -> Iterator[tuple[bytearray, int]]:
        """Read a file into the block, right behind the place of its header."""
        buffer = self._buffer
        blocks = 1 if len(os.fsencode(source.path)) <= 100 else 3  # noqa: PLR2004 - see header
        start = self._length + blocks * BLOCK
        handle = os.open(source.file, os.O_RDONLY)
        try:
            with memoryview(buffer) as view, view[start : start + source.size + 1] as place:
                size = os.readv(handle, [place])
                value = hashlib.sha256(place[:size]).hexdigest()
            whole = size == source.size or size == os.fstat(handle).st_size
        finally:
            os.close(handle)
        end = start + size
        if not whole or self.prefix.stands_in(buffer, start, end) or self._through_env(source):
            yield from self._add_large(source)
            return
        self._head(Member(source.path, source.kind, size, value))
        if self._length != start:
            buffer[self._length : self._length + size] = bytes(buffer[start:end])
        self._length += size
        self._pad(size)

    def _add_compiled(self, source: Source, bytecode: Bytecode) -> Iterator[tuple[bytearray, int]]:
        """Add bytecode, whose digest is known, and in which no prefix can be."""
        if self._bundle is None or self._bundle.name != source.file:
            self._close_bundle()
            self._bundle = open(source.file, "rb", buffering=0)  # noqa: PTH123, SIM115 - for a while
        content = os.pread(self._bundle.fileno(), bytecode.size, bytecode.offset)
        if len(content) != bytecode.size:
            raise PackError(f"{source.file} became shorter while it was packed")
        self._compiled.append(bytecode)
        yield from self._add_content(source, content, digest=bytecode.sha256)

    def _close_bundle(self) -> None:
        if self._bundle is not None:
            self._bundle.close()
            self._bundle = None

    def _require_sources(self) -> None:
        """Raise StaleBytecode if any bytecode is not that of the source that was packed."""
        packed = {member.path: member.value for member in self.members}
        stale = {
            bytecode.source
            for bytecode in self._compiled
            if packed.get(bytecode.source) != bytecode.source_sha256
        }
        if stale:
            raise StaleBytecode(stale)

    def _through_env(self, source: Source) -> bool:
        """Say whether a package announced a prefix that a long path may have driven out."""
        announced = self.installed.announced.get(source.path)
        return announced is not None and announced.mode == "text"

    def _pad(self, size: int) -> None:
        count = padding(size)
        self._buffer[self._length : self._length + count] = _ZEROS[:count]
        self._length += count

    def _add_large(self, source: Source) -> Iterator[tuple[bytearray, int]]:
        """Add a file that is large, or that something is changed in."""
        with open(source.file, "rb", buffering=0) as file:  # noqa: PTH123 - names are strings here
            size = os.fstat(file.fileno()).st_size
            found = source.change or self._through_env(source) or self._scan(file.readinto)
            file.seek(0)
            if found:
                content = file.readall()
                yield from self._add_content(source, self._replaced(source, content))
            else:
                yield from self._add_pieces(source, size, file.readinto)

    def _scan(self, read: Callable[[memoryview], int]) -> bool:
        """Say whether the prefix stands in a file, in pieces that overlap by its length."""
        overlap = max(map(len, self.prefix.needles)) * 3
        buffer = bytearray(1 << 20)
        kept = 0
        with memoryview(buffer) as view:
            while count := read(view[kept:]):
                if self.prefix.stands_in(buffer, 0, kept + count):
                    return True
                end = kept + count
                kept = min(overlap, end)
                view[:kept] = bytes(view[end - kept : end])
        return False

    def _replaced(self, source: Source, content: bytes) -> bytes:
        if source.change:
            content = source.change(content)
        announced = self.installed.announced.get(source.path)
        try:
            return self.prefix.replaced(source.path, content, announced)
        except Leftover as leftover:
            self.leftovers.append((source.path, str(leftover)))
            return content

    def _add_content(
        self, source: Source, content: bytes, digest: str = ""
    ) -> Iterator[tuple[bytearray, int]]:
        if len(content) >= LARGE:
            with memoryview(content) as view:
                position = 0

                def read(place: memoryview) -> int:
                    nonlocal position
                    piece = view[position : position + len(place)]
                    place[: len(piece)] = piece
                    position += len(piece)
                    return len(piece)

                yield from self._add_pieces(source, len(content), read)
            return
        digest = digest or hashlib.sha256(content).hexdigest()
        self._head(Member(source.path, source.kind, len(content), digest))
        end = self._length + len(content)
        self._buffer[self._length : end] = content
        self._length = end
        self._pad(len(content))

    def _add_pieces(
        self, source: Source, size: int, read: Callable[[memoryview], int]
    ) -> Iterator[tuple[bytearray, int]]:
        """Add a large file in frames of its own; it may be larger than memory."""
        yield from self._flush()
        place = len(self.members)
        self._head(Member(source.path, source.kind, size, "-"))
        digest = hashlib.sha256()
        left = size
        while left:
            if self._length >= FRAME_SIZE:
                yield from self._flush()
            end = min(FRAME_SIZE, self._length + left)
            with memoryview(self._buffer) as view, view[self._length : end] as piece:
                count = read(piece)
                digest.update(piece[:count])
            if not count:
                raise PackError(f"{source.path} became shorter while it was packed")
            self._length += count
            left -= count
        self._pad(size)
        self.members[place] = Member(source.path, source.kind, size, digest.hexdigest())
        yield from self._flush()

    def _leftover_error(self) -> LeftoverPrefixError:
        lines = [f"{path} ({self.owner(path)}): {reason}" for path, reason in self.leftovers]
        count = len(lines)
        more = f" and {count - 1} more" if count > 1 else ""
        return LeftoverPrefixError(
            f"the build prefix stays in {lines[0]}{more}",
            hint="remove the file in postBuild, or have its program keep relative paths",
            detail="\n".join(lines),
        )


def member_bytes(member: Member, content: bytes, mtime: int) -> bytes:
    """Return a member as it stands in a tar file: header, content, padding."""
    return header(member, mtime) + content + bytes(padding(len(content)))
