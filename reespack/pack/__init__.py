"""From a prefix to a relocatable archive: the same bytes wherever, and by whomever, it is made."""

from __future__ import annotations

import errno
import functools
import itertools
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import PLACEHOLDERS
from reespack.archive.frames import Codec, GzipCodec, ZstdCodec
from reespack.archive.header import END
from reespack.archive.listing import Member, format_listing
from reespack.conda_records import read_records
from reespack.errors import PackError
from reespack.files import sha256_bytes, temporary_beside
from reespack.pack.block import Rooms
from reespack.pack.blocks import Blocks, StaleBytecode, member_bytes
from reespack.pack.collect import collect, owning_wheel
from reespack.pack.compressing import compression
from reespack.pack.conda_meta import installed_by
from reespack.pack.headed import HeadedFile
from reespack.pack.large_files import LargeFiles
from reespack.pack.prefixes import BuildPrefix, PlaceholderTable
from reespack.pack.scans import Scans
from reespack.products import Archive, PackedFrame
from reespack.progress import QUIET
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from reespack.model import Note
    from reespack.pack.block import Block, Part
    from reespack.pack.collect import Collection
    from reespack.pack.conda_meta import Installed
    from reespack.pack.earlier import EarlierFrames
    from reespack.pack.scans import Submit
    from reespack.products import Bytecode, Prefix
    from reespack.progress import Progress

    Compile = Callable[[Sequence[dict[str, Any]], Sequence[str]], Sequence[Bytecode]]

__all__ = ["Contents", "bringer", "pack"]

Format = Literal["tar.zst", "tar.gz", "squashfs"]
_HEAD_FOLDERS = ("share", "share/reespack")


class Contents(Value):
    """What is known of an archive before it is written, for its manifest.

    `unpacked_size` (bytes) and `files` (members that are not folders) count all but the manifest
    and the listing; `tree_digest` is the listing's sha256; `mended` the number of files that hold
    the environment's path; `notes` what the user should know; `members` what is listed.
    """

    unpacked_size: int
    files: int
    tree_digest: str
    mended: int
    notes: tuple[Note, ...] = ()
    members: tuple[Member, ...] = ()


def pack(  # noqa: PLR0913 - the phase's input, its output, and what it is made with
    prefix: Prefix,
    *,
    target: Path,
    format: Format,  # noqa: A002 - the option is called so
    describe: Callable[[Contents], bytes],
    mtime: int,
    threads: int,
    bytecode: Compile = lambda _records, _files: (),
    earlier: EarlierFrames | None = None,
    progress: Progress = QUIET,
) -> Archive:
    """Write the archive of a prefix to `target`, whole or not at all.

    Of all bytecode, only what `bytecode` returns goes in. It is given conda's records and the paths
    of all files, once there is something to compress meanwhile. `describe` returns the manifest,
    which becomes the first member; `mtime` (seconds since the epoch) is every member's time. Frames
    that archives in `earlier` have are taken from there, and the bytes are the same; only where it
    is given are the archive's own frames told, for their digests take time. Raises PackError, and
    LeftoverPrefixError when the prefix's path stays in a file where it cannot be mended later.
    """
    if not (prefix.path / "conda-meta").is_dir():
        raise PackError(f"{prefix.path} is no conda environment: it has no conda-meta")
    records: Sequence[dict[str, Any]] = read_records(prefix.path)
    installed = installed_by(records)

    found: Sequence[Bytecode] | None = None

    def compiled(files: Sequence[str]) -> Sequence[Bytecode]:
        nonlocal found, records
        if found is None:
            given, records = records, ()  # those of many packages are as large as some blocks
            found = bytecode(given, files)
        return found

    while True:
        job = _Job(prefix, installed, compiled, describe, mtime, threads, progress)
        try:
            if format == "squashfs":
                return _pack_squashfs(job, target)
            return _pack_tar(job, target, format, earlier)
        except StaleBytecode as stale:
            # Rare: a script changed a package's file when that was installed.
            found = stale.fresh
        except OSError as error:
            raise _unwritable(target, error) from error


@dataclass(frozen=True, slots=True)
class _Job:
    """What is packed, and with what."""

    prefix: Prefix
    installed: Installed
    bytecode: Callable[[Sequence[str]], Sequence[Bytecode]]
    describe: Callable[[Contents], bytes]
    mtime: int
    threads: int
    progress: Progress

    def collection(self) -> Collection:
        """Look for all that there is to pack."""
        return collect(self.prefix, self.installed, self.bytecode)


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before everything else but is known last: the manifest, and the lists."""

    manifest: bytes
    lists: bytes
    contents: Contents


def _pack_tar(
    job: _Job, target: Path, form: Literal["tar.zst", "tar.gz"], earlier: EarlierFrames | None
) -> Archive:
    codec: Codec = ZstdCodec() if form == "tar.zst" else GzipCodec()
    make = functools.partial(_frame, codec, earlier)
    rooms = Rooms()
    with compression(make, rooms, job.threads) as work:
        seed = f"{codec.identity} {job.mtime}".encode()
        reading = _Reading(job, rooms, seed=seed, submit=work.submit)
        # There is something to compress while all the rest is looked for.
        reading.blocks.begin(work.begin)
        collection = job.collection()
        room = _head_room(collection)
        body: list[_Frame] = []
        with temporary_beside(target) as temporary, temporary.open("r+b") as file:
            # "w+b" would truncate it, and ext4 writes what was truncated to the disk when closed.
            archive = HeadedFile(file, room if codec.gap(room) else 0)

            def append(frame: _Frame) -> None:
                body.append(frame._replace(content=b""))
                archive.append(frame.content, frame.plain)

            def append_all(blocks: Iterable[Block | Part]) -> None:
                for frame in work.frames(blocks):
                    append(frame)

            head = reading.read(collection, append_all)
            # From here on this thread reads nothing: it hashes while others compress what is left.
            first = [(codec.compress(part), len(part)) for part in (head.manifest, head.lists)]

            def append_ready() -> None:
                for frame in work.ready():
                    append(frame)

            archive.put_head(first, codec.gap, append_ready)
            for frame in work.rest():
                append(frame)
            ends = list(itertools.accumulate(length for length, _ in archive.sizes))
            archive.append(codec.compress(END), len(END))
            archive.end(codec.index(archive.sizes))
            sha256, size = archive.finish()
    frames = tuple(
        PackedFrame(
            key=frame.key, offset=end - frame.length, length=frame.length, sha256=frame.sha256
        )
        for frame, end in zip(body, ends[len(ends) - len(body) :], strict=True)
        if frame.sha256
    )
    return _archive(target, form, sha256, size, head.contents, frames)


class _Frame(NamedTuple):
    """A frame that was made of a block; `length` is its own in bytes, `plain` the block's.

    `sha256` is its digest, or empty where nobody will ask.
    """

    content: bytes
    plain: int
    key: str
    length: int
    sha256: str


def _frame(codec: Codec, earlier: EarlierFrames | None, block: Block | Part) -> _Frame:
    content = earlier.find(block.key) if earlier else None
    if content is None:
        content = codec.compress(block.content(), binary=block.binary)
    sha256 = "" if earlier is None else sha256_bytes(content)
    return _Frame(content, block.length, block.key, len(content), sha256)


def _head_room(collection: Collection) -> int:
    """Return how many bytes of tar.zst the manifest and the lists will hardly pass.

    Digests cannot be compressed, and paths to a sixth at the least. This must not depend on where
    the prefix lies; where it is too little, the archive is moved once more.
    """
    paths = os.fsencode("".join(source.path for source in collection.sources))
    return (1 << 14) + 38 * len(collection.sources) + len(paths) // 6


def _pack_squashfs(job: _Job, target: Path) -> Archive:
    """Pipe the same members into mksquashfs: order means nothing there, so no room is needed."""
    from reespack.pack.squashfs import make_squashfs

    def write(file: IO[bytes]) -> Contents:
        rooms = Rooms()
        reading = _Reading(job, rooms)

        def write_all(blocks: Iterable[Block | Part]) -> None:
            for block in blocks:
                file.write(block.content())
                rooms.recycle(block)

        head = reading.read(job.collection(), write_all)
        file.write(head.manifest + head.lists + END)
        return head.contents

    sha256, size, contents = make_squashfs(target, write, mtime=job.mtime, threads=job.threads)
    return _archive(target, "squashfs", sha256, size, contents)


class _Reading:
    """The blocks of a job, and what they find; `seed` is what their keys depend on, too.

    `submit` has large files looked through ahead (see Scans).
    """

    def __init__(
        self, job: _Job, rooms: Rooms, *, seed: bytes = b"", submit: Submit | None = None
    ) -> None:
        self._job = job
        self._table = PlaceholderTable()
        prefix = BuildPrefix(job.prefix.path, self._table)
        scans = Scans(prefix, submit)
        self.blocks = Blocks(
            prefix=prefix,
            scans=scans,
            large=LargeFiles(job.installed.large, scans),
            rooms=rooms,
            installed=job.installed,
            mtime=job.mtime,
            seed=seed,
            owner=functools.partial(_bringer, job.prefix, job.installed),
        )

    def read(
        self, collection: Collection, write: Callable[[Iterable[Block | Part]], None]
    ) -> _Head:
        """Give the blocks of all members but the first to `write`, which may hold some back.

        Return the first members, which name all the others.
        """
        sources = [source for source in collection.sources if source.path not in _HEAD_FOLDERS]
        with self._job.progress.task("packing", total=len(sources)) as advance:
            write(self.blocks.of(sources, advance))
        for note in collection.notes:
            self._job.progress.warn(note.message, hint=note.hint)
        return _head(self._job, collection, self.blocks, self._table)


def bringer(prefix: Prefix) -> Callable[[str], str]:
    """Return a function that says in a word or two who brought the file at a path."""
    return functools.partial(_bringer, prefix, installed_by(read_records(prefix.path)))


def _bringer(prefix: Prefix, installed: Installed, path: str) -> str:
    """Say who brought a file: postBuild, a wheel, or a conda package."""
    for change in prefix.changes:
        if change.path == path and change.by == "postBuild":
            return "postBuild"
        if change.path == path:
            return f"{change.package or 'a package'}, by pip"
    return installed.owners.get(path) or owning_wheel(prefix.path, path) or "of no package"


def _head(job: _Job, collection: Collection, blocks: Blocks, table: PlaceholderTable) -> _Head:
    content = table.encoded()
    placeholders = Member(PLACEHOLDERS, "0644", len(content), sha256_bytes(content))
    folders = [Member(path, "dir", 0, "-") for path in _HEAD_FOLDERS]
    first = [*folders, placeholders]
    listed = [*first, *blocks.members]
    listing = b"".join((format_listing(first), *blocks.listing))
    contents = Contents(
        unpacked_size=sum(member.size for member in listed),
        files=sum(member.kind != "dir" for member in listed),
        tree_digest=sha256_bytes(listing),
        mended=len(table.records),
        notes=collection.notes,
        members=tuple(listed),
    )
    lists = [
        _unlisted(LISTING, listing, job.mtime),
        *(member_bytes(folder, b"", job.mtime) for folder in folders),
        member_bytes(placeholders, content, job.mtime),
    ]
    manifest = _unlisted(MANIFEST, job.describe(contents), job.mtime)
    return _Head(manifest, b"".join(lists), contents)


def _unlisted(path: str, content: bytes, mtime: int) -> bytes:
    return member_bytes(Member(path, "0644", len(content), "-"), content, mtime)


def _archive(  # noqa: PLR0913, PLR0917 - what is known of it, from several sides
    target: Path,
    form: Format,
    sha256: str,
    size: int,
    contents: Contents,
    frames: tuple[PackedFrame, ...] = (),
) -> Archive:
    """Return the value that stands for what was written."""
    return Archive(
        path=target,
        format=form,
        sha256=sha256,
        size=size,
        unpacked_size=contents.unpacked_size,
        files=contents.files,
        tree_digest=contents.tree_digest,
        frames=frames,
    )


def _unwritable(target: Path, error: OSError) -> PackError:
    hints = {
        errno.ENOSPC: "make room, or set REESPACK_CACHE to another disk",
        errno.EDQUOT: "make room, or set REESPACK_CACHE to where you have a larger quota",
        errno.EFBIG: "there is a limit on the size of files: raise it (`ulimit -f`)",
    }
    return PackError(
        f"{target} cannot be written: {error.strerror or error}",
        hint=hints.get(error.errno or 0, "set REESPACK_CACHE to a folder that you can write to"),
    )
