"""From files to blocks of tar: one pass over the prefix, each file read once and looked through.

One thread reads, scans and hashes; what it hands on is compressed elsewhere, which takes longer.
One reader means that blocks are cut where their content says, never where threads happen to meet.
What is done for every file is written out to be quick: there are tens of thousands, most of them of
a few kilobytes.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import FRAME_SIZE
from reespack.archive.header import header, header_size, padding
from reespack.archive.listing import Member, format_listing
from reespack.errors import LeftoverPrefixError, PackError
from reespack.files import sha256_bytes
from reespack.pack.block import LARGE, MOST, PART, Block, LargeFile, Part, Rooms
from reespack.pack.collect import is_library
from reespack.pack.prefixes import Leftover
from reespack.pack.scans import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from reespack.pack.collect import Source
    from reespack.pack.conda_meta import Installed
    from reespack.pack.large_files import LargeFiles
    from reespack.pack.prefixes import BuildPrefix
    from reespack.pack.scans import Scans
    from reespack.products import Bytecode

__all__ = ["Blocks", "StaleBytecode", "member_bytes"]

_FIRST = FRAME_SIZE // 8
"""Bytes in the first block; each of the next ones has twice as many, until they are large enough:
the sooner there is one, the sooner somebody compresses."""

_CUTS = 64
"""One in so many paths lets a block end before it is full."""


class _Cut(NamedTuple):
    """What is in a frame of a large file: a header or nothing, some bytes of it, some zeros."""

    key: str
    before: bytes
    offset: int
    size: int
    after: int


class StaleBytecode(Exception):  # noqa: N818 - no error: it is packed again, without
    """Some bytecode's source was changed, if only by a placeholder; `fresh` is all the others."""

    def __init__(self, fresh: Sequence[Bytecode]) -> None:
        super().__init__(fresh)
        self.fresh = fresh


@dataclass(slots=True, kw_only=True)
class Blocks:
    """Makes blocks of tar and gathers, on the way, the members that are in them.

    Whoever has compressed a block gives it back to `rooms`. A block's key is a digest over
    `seed` and what is in it; `listing` has the lines of all members that are in blocks.
    """

    prefix: BuildPrefix
    installed: Installed
    mtime: int
    seed: bytes
    owner: Callable[[str], str]
    scans: Scans
    large: LargeFiles
    rooms: Rooms
    members: list[Member] = field(default_factory=list)
    listing: list[bytes] = field(default_factory=list)
    leftovers: list[tuple[str, str]] = field(default_factory=list)
    _told: int = 0
    _enough: int = _FIRST
    _block: Block = field(default_factory=Block)
    _compiled: list[Bytecode] = field(default_factory=list)
    _reading: str = ""
    _advance: Callable[[int], object] = field(default=lambda _: None)

    def begin(self, work: Callable[[Iterable[Part]], None]) -> None:
        """Have `work` called with some large files that `of` will yield, until that is called.

        It is called by any thread, before anybody knows what else there is.
        """
        self.large.begin(
            self.prefix.path, lambda member, file: work(self._parts(member, LargeFile(file)))
        )

    def of(
        self, sources: Sequence[Source], advance: Callable[[int], object]
    ) -> Iterator[Block | Part]:
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

    def _read(self, sources: Sequence[Source]) -> Iterator[Block | Part]:
        """Read all sources: folders, then files, at the end what must be rewritten.

        Large files come between blocks of small ones that are full: those are the same where there
        are others, or none.
        """
        folders, small, rewritten = _parted(self.large.expect(sources))
        for source in folders:
            yield from self._add(source)
            if self._is_full(source.path):
                yield from self._flush()
        yield from self._add_large(self.large.first())
        for number, (source, following) in enumerate(itertools.zip_longest(small, small[1:])):
            self._reading = source.path
            if not self._add_small(source):
                yield from self._add(source)
            if self._is_full(source.path) and not self._is_like(source, following):
                yield from self._flush()
                yield from self._add_large(self.large.between(number, len(small)))
        yield from self._add_large(self.large.rest())
        for source in rewritten:
            self._reading = source.path
            yield from self._add_file(source)
            if self._is_full(source.path):
                yield from self._flush()

    def _add_large(self, sources: Iterable[Source]) -> Iterator[Block | Part]:
        """Add large files."""
        for source in sources:
            self._reading = source.path
            member = self.scans.member(source)
            if member is None:
                yield from self._add_changed(source)
            else:
                yield from self._add_parts(member, source.file)

    def _is_full(self, path: str) -> bool:
        """Say whether a block is to end behind the member `path`.

        Beyond three quarters, some paths are a good end. So wherever a package more or less shifts
        the ends of blocks, they soon fall together again, and what follows is the same.
        """
        length = self._block.length
        if 4 * length < 3 * self._enough:
            return False
        return length >= self._enough or not zlib.crc32(os.fsencode(path)) % _CUTS

    def _is_like(self, source: Source, following: Source | None) -> bool:
        """Say whether what follows takes next to no room in the same frame, and fits into it."""
        if following is None or self._block.length > MOST:
            return False
        if following.compiled is not None:
            return following.compiled.source == source.path
        twins = self.installed.twins
        return source.path in twins and twins[source.path] == twins.get(following.path)

    def _flush(self) -> Iterator[Block]:
        """Yield what is in the block."""
        full = self._block
        if full.length:
            self._block = self.rooms.take()
            full.binary = is_library(self.members[self._told].path)
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
        if count != size:
            return False
        content = bytes(block.view[start:end])  # which can be searched quickly
        if self.prefix.stands_in(content, 0, size) or self._through_env(source):
            return False
        digest = hashlib.sha256(content).hexdigest()
        self._head(Member(source.path, kind_of(status), size, digest))
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

    def _add(self, source: Source) -> Iterator[Block | Part]:
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
        fresh = [one for one in self._compiled if packed.get(one.source) == one.source_sha256]
        if len(fresh) < len(self._compiled):
            raise StaleBytecode(fresh)

    def _through_env(self, source: Source) -> bool:
        """Say whether a package announced a prefix that a long path may have driven out."""
        announced = self.installed.announced.get(source.path)
        return announced is not None and announced.mode == "text"

    def _add_file(self, source: Source) -> Iterator[Block | Part]:
        """Add a file that something is changed in, or have it wait if it is large."""
        if source.compiled is not None:
            one = source.compiled
            self._compiled.append(one)
            compiled = Member(source.path, source.kind, one.size, one.sha256)
            yield from self._add_parts(compiled, source.file, one.offset)
            return
        clean = not source.change and not self._through_env(source)
        member = self.scans.member(source) if clean else None
        if member is None:
            yield from self._add_changed(source)
        elif member.size < LARGE:
            yield from self._add_parts(member, source.file)
        else:
            self.large.add(source, member.size)

    def _add_changed(self, source: Source) -> Iterator[Block]:
        """Add a file that has the prefix in it, or is rewritten."""
        with open(source.file, "rb", buffering=0) as file:  # noqa: PTH123 - names are strings here
            known = source._replace(kind=kind_of(os.fstat(file.fileno())))
            content = file.readall()
        yield from self._add_content(known, self._replaced(source, content))

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

    def _add_pieces(self, member: Member, content: bytes) -> Iterator[Block]:
        """Add what is large and in memory, in blocks of its own."""
        yield from self._alone(member)
        for cut in self._cut_up(member):
            block = self.rooms.take()
            block.append(cut.before)
            block.append(memoryview(content)[cut.offset : cut.offset + cut.size])
            block.append(bytes(cut.after))
            block.binary = True
            block.key = cut.key
            yield block

    def _add_parts(self, member: Member, file: str, offset: int = 0) -> Iterator[Block | Part]:
        """Add a large file, which has its content at `offset`, in frames of its own."""
        yield from self._alone(member)
        yield from self._parts(member, LargeFile(file), offset)

    def _alone(self, member: Member) -> Iterator[Block]:
        """List a member that begins a frame."""
        yield from self._flush()
        self.members.append(member)
        self._tell()

    def _parts(self, member: Member, file: LargeFile, offset: int = 0) -> Iterator[Part]:
        """Yield the parts of a large file; it may be larger than memory."""
        for cut in self._cut_up(member):
            yield Part(
                cut.key,
                file,
                before=cut.before,
                offset=offset + cut.offset,
                size=cut.size,
                after=cut.after,
                rooms=self.rooms,
            )

    def _cut_up(self, member: Member) -> Iterator[_Cut]:
        """Yield how a large file is cut into frames."""
        lines = format_listing([member])
        before = header(member, self.mtime)
        done = 0
        while before or done < member.size:
            size = min(PART - len(before), member.size - done)
            key = self._key(lines, f"{done}\t{size}")
            after = padding(member.size) if done + size == member.size else 0
            yield _Cut(key, before, done, size, after)
            before = b""
            done += size

    def _leftover_error(self) -> LeftoverPrefixError:
        lines = [f"{path} ({self.owner(path)}): {reason}" for path, reason in self.leftovers]
        count = len(lines)
        more = f" and {count - 1} more" if count > 1 else ""
        return LeftoverPrefixError(
            f"the build prefix stays in {lines[0]}{more}",
            hint="remove the file in postBuild, or have its program keep relative paths",
            detail="\n".join(lines),
        )


def _parted(sources: Iterable[Source]) -> tuple[list[Source], list[Source], list[Source]]:
    """Return the folders, the files that are read as they are, and those that are rewritten."""
    folders: list[Source] = []
    files: list[Source] = []
    rewritten: list[Source] = []
    for source in sources:
        if source.kind == "dir":
            folders.append(source)
        elif source.change:
            rewritten.append(source)
        else:
            files.append(source)
    return folders, files, rewritten


def member_bytes(member: Member, content: bytes, mtime: int) -> bytes:
    """Return a member as it stands in a tar file: header, content, padding."""
    return header(member, mtime) + content + bytes(padding(len(content)))
