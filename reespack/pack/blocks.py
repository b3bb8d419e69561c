"""From files to blocks of tar: one pass over the prefix, each file read once and looked through.

One thread reads, scans and hashes; what it hands on is compressed elsewhere. Reading stays ahead of
two compressors by a factor of three, and one reader means that blocks are cut where their content
says, never where threads happen to meet. What is done for every file is written out to be quick:
there are tens of thousands, most of them of a few kilobytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reespack.archive import FRAME_SIZE
from reespack.archive.header import header, header_size, padding
from reespack.archive.listing import Member, format_listing
from reespack.errors import LeftoverPrefixError, PackError
from reespack.files import sha256_bytes
from reespack.pack.block import LARGE, Block
from reespack.pack.collect import Source
from reespack.pack.prefixes import Leftover

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from reespack.pack.conda_meta import Installed
    from reespack.pack.prefixes import BuildPrefix
    from reespack.products import Bytecode

__all__ = ["Blocks", "StaleBytecode", "member_bytes"]

_FIRST = FRAME_SIZE // 8
"""Bytes in the first block; each of the next ones has twice as many, until they are large enough:
the sooner there is one, the sooner somebody compresses."""

MOST_WAITING = 96 << 20
"""Bytes of large files that may be left for later."""

_CUTS = 64
"""One in so many paths lets a block end before it is full."""


class StaleBytecode(Exception):  # noqa: N818 - no error: it is packed again, without
    """Some bytecode's source was changed, if only by a placeholder; `sources` names them all."""

    def __init__(self, sources: Collection[str]) -> None:
        super().__init__(sources)
        self.sources = sources


@dataclass(slots=True, kw_only=True)
class Blocks:
    """Makes blocks of tar and gathers, on the way, the members that are in them.

    Whoever has compressed a block gives it back with `recycle`. A block's key is a digest over
    `seed` and what is in it; `listing` has the lines of all members that are in blocks.
    """

    prefix: BuildPrefix
    installed: Installed
    mtime: int
    seed: bytes
    owner: Callable[[str], str]
    members: list[Member] = field(default_factory=list)
    listing: list[bytes] = field(default_factory=list)
    leftovers: list[tuple[str, str]] = field(default_factory=list)
    _told: int = 0
    _enough: int = _FIRST
    _block: Block = field(default_factory=Block)
    _spare: list[Block] = field(default_factory=list)
    _compiled: list[Bytecode] = field(default_factory=list)
    _large: deque[tuple[Source, Member]] = field(default_factory=deque)
    _waiting: int = 0
    _reading: str = ""
    _advance: Callable[[int], object] = field(default=lambda _: None)
    _known: dict[str, Member] = field(default_factory=dict)

    def of_large(self, paths: Iterable[str]) -> Iterator[Block]:
        """Yield the blocks of some large files, which `of` will yield again when it comes to them.

        So they can be in work before anybody knows what else there is. What is no large file, or
        has the prefix in it, is passed over.
        """
        for path in paths:
            file = os.path.join(self.prefix.path, path)  # noqa: PTH118 - names are strings here
            with contextlib.suppress(OSError):  # whoever needs it will say what is wrong
                member = self._clean(Source(path, "file", file))
                if member and member.size >= LARGE:
                    self._known[path] = member
                    yield from self._pieces(member, file)

    def of(self, sources: Iterable[Source], advance: Callable[[int], object]) -> Iterator[Block]:
        """Yield the blocks of all that is packed; raise PackError for an unreadable file.

        `advance` is told how many members have become part of one.

        After the last block, raise LeftoverPrefixError when a build prefix stays anywhere, and
        StaleBytecode when a source is not the one that its bytecode was compiled from.
        """
        self._advance = advance
        try:
            yield from self._read(sources)
        except OSError as error:
            raise PackError(f"{self._reading} cannot be read: {error.strerror}") from error
        yield from self._flush()
        if self.leftovers:
            raise self._leftover_error()
        self._require_sources()

    def _read(self, sources: Iterable[Source]) -> Iterator[Block]:
        """Read all sources: the large ones a while later, and what must be rewritten at the end.

        Small files take longer to read than to compress, large ones the other way round, and while
        something is rewritten nothing is read. So there is always something left to compress, and
        there is at the end, while the head is made. It is an order that only the contents tell:
        the archive is to be the same, whoever happens to be ready.
        """
        rewritten: list[Source] = []
        for source in sources:
            if source.change:
                rewritten.append(source)
                continue
            self._reading = source.path
            if not self._add_small(source):
                yield from self._add(source)
            if self._is_full(source.path):
                yield from self._flush()
            while self._waiting > MOST_WAITING:
                yield from self._add_large()
        while self._large:
            yield from self._add_large()
        for source in rewritten:
            self._reading = source.path
            yield from self._add_file(source)
            if self._is_full(source.path):
                yield from self._flush()

    def recycle(self, block: Block) -> None:
        """Take back a block."""
        block.clear()
        self._spare.append(block)

    def _is_full(self, path: str) -> bool:
        """Say whether a block is to end behind the member `path`.

        Beyond three quarters, some paths are a good end. So wherever a package more or less shifts
        the ends of blocks, they soon fall together again, and what follows is the same.
        """
        length = self._block.length
        if 4 * length < 3 * self._enough:
            return False
        return length >= self._enough or not zlib.crc32(os.fsencode(path)) % _CUTS

    def _flush(self) -> Iterator[Block]:
        """Yield what is in the block."""
        full = self._block
        if full.length:
            self._block = self._free()
            full.key = self._key(self._tell())
            self._enough = min(2 * self._enough, FRAME_SIZE)
            yield full

    def _tell(self) -> bytes:
        """Tell of the members that are new in blocks; return their lines of the listing."""
        lines = format_listing(self.members[self._told :])
        self.listing.append(lines)
        self._advance(len(self.members) - self._told)
        self._told = len(self.members)
        return lines

    def _key(self, lines: bytes, part: str = "") -> str:
        return sha256_bytes(b"%b\0%b\0%b" % (self.seed, lines, os.fsencode(part)))

    def _free(self) -> Block:
        """Return an empty block."""
        return self._spare.pop() if self._spare else Block()

    def _add_small(self, source: Source) -> bool:
        """Read a file into the block, right behind the place of its header.

        Return False, and leave nothing, for what is no small file, or is being written to.
        """
        if not source.file:
            return False
        if source.compiled is not None:
            return self._add_compiled(source, source.compiled)
        block = self._block
        start = block.length + header_size(source.path)
        handle = os.open(source.file, os.O_RDONLY)
        try:
            status = os.fstat(handle)
            size = status.st_size
            if size >= LARGE:
                return False
            end = start + size
            count = os.readv(handle, [block.view[start : end + 1]])
        finally:
            os.close(handle)
        if count != size or self.prefix.stands_in(block.buffer, start, end):
            return False
        if self._through_env(source):
            return False
        digest = hashlib.sha256(block.view[start:end]).hexdigest()
        self._head(Member(source.path, _kind(status), size, digest))
        block.length = end
        block.pad(size)
        return True

    def _add_compiled(self, source: Source, bytecode: Bytecode) -> bool:
        """Leave room for bytecode: its digest is known, and no prefix can be in it."""
        if bytecode.size >= LARGE:
            return False
        self._compiled.append(bytecode)
        self._head(Member(source.path, source.kind, bytecode.size, bytecode.sha256))
        self._block.put_off(source.file, bytecode.offset, bytecode.size)
        self._block.pad(bytecode.size)
        return True

    def _add(self, source: Source) -> Iterator[Block]:
        if source.kind in {"dir", "link", "outside"}:
            self._head(Member(source.path, source.kind, 0, source.target or "-"))
        elif source.content is not None:
            yield from self._add_content(source, self._replaced(source, source.content))
        else:
            yield from self._add_file(source)

    def _head(self, member: Member) -> None:
        """Write a header into the block, and list the member."""
        self._block.append(header(member, self.mtime))
        self.members.append(member)

    def _require_sources(self) -> None:
        """Raise StaleBytecode if any bytecode is not that of the source that was packed."""
        if not self._compiled:
            return
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

    def _add_file(self, source: Source) -> Iterator[Block]:
        """Add a file that is large, or that something is changed in."""
        if source.compiled is not None:
            one = source.compiled
            self._compiled.append(one)
            compiled = Member(source.path, source.kind, one.size, one.sha256)
            yield from self._add_pieces(compiled, source.file, one.offset)
            return
        member = None
        if not source.change and not self._through_env(source):
            member = self._known.get(source.path) or self._clean(source)
        if member is None:
            with open(source.file, "rb", buffering=0) as file:  # noqa: PTH123 - names are strings here
                known = source._replace(kind=_kind(os.fstat(file.fileno())))
                content = file.readall()
            yield from self._add_content(known, self._replaced(source, content))
        elif member.size >= LARGE:
            self._large.append((source, member))
            self._waiting += member.size
        else:
            yield from self._add_pieces(member, source.file)

    def _add_large(self) -> Iterator[Block]:
        """Add the file that has waited longest; the prefix is not in it."""
        source, member = self._large.popleft()
        self._waiting -= member.size
        yield from self._add_pieces(member, source.file)

    def _clean(self, source: Source) -> Member | None:
        """Read a file, and return its member; None when the prefix stands in it."""
        handle = os.open(source.file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            kind = _kind(os.fstat(handle))
            whole = self._scan(handle)
        finally:
            os.close(handle)
        return Member(source.path, kind, *whole) if whole else None

    def _scan(self, handle: int) -> tuple[int, str] | None:
        """Return the size and sha256 of a file; None when the prefix stands in it.

        It is looked for in pieces that overlap by its length.
        """
        overlap = max(map(len, self.prefix.needles)) * 3
        buffer = bytearray(1 << 20)
        kept = size = 0
        digest = hashlib.sha256()
        with memoryview(buffer) as view:
            while count := os.readv(handle, [view[kept:]]):
                end = kept + count
                if self.prefix.stands_in(buffer, 0, end):
                    return None
                digest.update(view[kept:end])
                size += count
                kept = min(overlap, end)
                view[:kept] = bytes(view[end - kept : end])
        return size, digest.hexdigest()

    def _replaced(self, source: Source, content: bytes) -> bytes:
        if source.change:
            content = source.change(content)
        announced = self.installed.announced.get(source.path)
        try:
            return self.prefix.replaced(source.path, content, announced)
        except Leftover as leftover:
            self.leftovers.append((source.path, str(leftover)))
            return content

    def _add_content(self, source: Source, content: bytes) -> Iterator[Block]:
        member = Member(source.path, source.kind, len(content), sha256_bytes(content))
        if member.size >= LARGE:
            yield from self._add_pieces(member, content)
            return
        self._head(member)
        self._block.append(content)
        self._block.pad(member.size)

    def _add_pieces(self, member: Member, content: str | bytes, offset: int = 0) -> Iterator[Block]:
        """Add a large file in blocks of its own."""
        yield from self._flush()
        self.members.append(member)
        self._tell()
        yield from self._pieces(member, content, offset)

    def _pieces(self, member: Member, content: str | bytes, offset: int = 0) -> Iterator[Block]:
        """Yield the blocks of a large file; it may be larger than memory.

        `content` is what is in it, or the name of a file that has it at `offset`.
        """
        lines = format_listing([member])
        start = header(member, self.mtime)
        done = 0
        while start or done < member.size:
            block = self._free()
            block.append(start)
            start = b""
            count = min(FRAME_SIZE - block.length, member.size - done)
            if isinstance(content, str):
                block.put_off(content, offset + done, count)
            else:
                block.append(memoryview(content)[done : done + count])
            block.large_file = True
            block.key = self._key(lines, f"{done}\t{count}")
            done += count
            if done == member.size:
                block.pad(member.size)
            yield block

    def _leftover_error(self) -> LeftoverPrefixError:
        lines = [f"{path} ({self.owner(path)}): {reason}" for path, reason in self.leftovers]
        count = len(lines)
        more = f" and {count - 1} more" if count > 1 else ""
        return LeftoverPrefixError(
            f"the build prefix stays in {lines[0]}{more}",
            hint="remove the file in postBuild, or have its program keep relative paths",
            detail="\n".join(lines),
        )


def _kind(status: os.stat_result) -> str:
    """Return a file's kind, as in the listing."""
    return "0755" if status.st_mode & stat.S_IXUSR else "0644"


def member_bytes(member: Member, content: bytes, mtime: int) -> bytes:
    """Return a member as it stands in a tar file: header, content, padding."""
    return header(member, mtime) + content + bytes(padding(len(content)))
