"""From a prefix to a relocatable archive: the same bytes wherever, and by whomever, it is made."""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import tempfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import PLACEHOLDERS
from reespack.archive.frames import Codec, GzipCodec, ZstdCodec
from reespack.archive.header import END
from reespack.archive.listing import Member, format_listing
from reespack.errors import PackError
from reespack.files import sha256_bytes, temporary_beside
from reespack.model import Archive, Note
from reespack.pack.blocks import Blocks, StaleBytecode, member_bytes
from reespack.pack.collect import collect, owning_wheel
from reespack.pack.conda_meta import read_conda_meta
from reespack.pack.prefixes import BuildPrefix, PlaceholderTable
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reespack.model import Bytecode, Prefix
    from reespack.pack.collect import Collection
    from reespack.pack.conda_meta import Installed
    from reespack.progress import Progress

__all__ = ["Contents", "bringer", "pack"]

Format = Literal["tar.zst", "tar.gz", "squashfs"]
MOST_THREADS = 16
"""More would not be faster, since one thread reads, and would need more than 400 MB."""

_MOST_AHEAD = 3
"""Blocks that wait for a thread, so that none waits for the reader."""

_COPY_CHUNK = 1 << 22
_HEAD_FOLDERS = ("share", "share/reespack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
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
    bytecode: Sequence[Bytecode] = (),
    progress: Progress = QUIET,
) -> Archive:
    """Write the archive of a prefix to `target`, whole or not at all.

    Of all bytecode, only `bytecode` goes in. `describe` returns the manifest, which becomes the
    first member; `mtime` (seconds since the epoch) is every member's time. Raises PackError, and
    LeftoverPrefixError when the prefix's path stays in a file where it cannot be mended later.
    """
    while True:
        installed = read_conda_meta(prefix.path, {one.source: one.path for one in bytecode})
        collection = collect(prefix, installed, bytecode)
        job = _Job(prefix, collection, installed, describe, mtime, threads, progress)
        try:
            if format == "squashfs":
                archive = _pack_squashfs(job, target)
            else:
                archive = _pack_tar(job, target, format)
        except StaleBytecode as stale:
            # Rare: a script changed a package's file when that was installed.
            bytecode = [one for one in bytecode if one.source not in stale.sources]
            continue
        except OSError as error:
            raise _unwritable(target, error) from error
        for note in collection.notes:
            progress.warn(note.message, hint=note.hint)
        return archive


@dataclass(frozen=True, slots=True)
class _Job:
    """What is packed, and with what."""

    prefix: Prefix
    collection: Collection
    installed: Installed
    describe: Callable[[Contents], bytes]
    mtime: int
    threads: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before everything else but is known last: the manifest, and the lists."""

    manifest: bytes
    lists: bytes
    contents: Contents


def _pack_tar(job: _Job, target: Path, form: Literal["tar.zst", "tar.gz"]) -> Archive:
    codec: Codec = ZstdCodec() if form == "tar.zst" else GzipCodec()
    with (
        temporary_beside(target) as temporary,
        tempfile.TemporaryFile(dir=target.parent) as body,
        temporary.open("wb") as file,
    ):
        sizes: list[tuple[int, int]] = []
        head = _write_body(job, body, codec.compress, sizes)
        first, second, end = (
            codec.compress(memoryview(part)) for part in (head.manifest, head.lists, END)
        )
        sizes.insert(0, (len(first), len(head.manifest)))
        sizes.insert(1, (len(second), len(head.lists)))
        sizes.append((len(end), len(END)))
        body.seek(0)
        pieces = itertools.chain([first, second], _pieces(body), [end, codec.index(sizes)])
        sha256, size = _copy(pieces, file)
    return _archive(target, form, sha256, size, head.contents)


def _pack_squashfs(job: _Job, target: Path) -> Archive:
    """Pipe the same members into mksquashfs: order means nothing there, so no body has to wait."""
    from reespack.pack.squashfs import make_squashfs

    def write(file: IO[bytes]) -> Contents:
        head = _write_body(job, file, bytes, [])
        file.write(head.manifest + head.lists + END)
        return head.contents

    sha256, size, contents = make_squashfs(target, write, mtime=job.mtime, threads=job.threads)
    return _archive(target, "squashfs", sha256, size, contents)


def _write_body(
    job: _Job,
    body: IO[bytes],
    compress: Callable[[memoryview], bytes],
    sizes: list[tuple[int, int]],
) -> _Head:
    """Write all members but the first to `body`; return those, which name all the others.

    `sizes` takes the (compressed, plain) sizes of the frames.
    """
    table = PlaceholderTable()
    total = job.collection.size
    with job.progress.task("packing", total=total, unit="bytes") as advance:
        sources = [s for s in job.collection.sources if s.path not in _HEAD_FOLDERS]
        blocks = Blocks(
            sources=sources,
            prefix=BuildPrefix(job.prefix.path, table),
            installed=job.installed,
            mtime=job.mtime,
            advance=advance,
            owner=functools.partial(_bringer, job.prefix, job.installed),
        )
        for frame, length in _compressed(blocks, compress, job.threads):
            body.write(frame)
            sizes.append((len(frame), length))
    return _head(job, blocks.members, table)


def _compressed(
    blocks: Blocks, compress: Callable[[memoryview], bytes], threads: int
) -> Iterator[tuple[bytes, int]]:
    """Compress blocks in several threads; yield frames in the blocks' order, and plain lengths."""

    def work(buffer: bytearray, length: int) -> bytes:
        with memoryview(buffer) as view, view[:length] as block:
            frame = compress(block)
        blocks.recycle(buffer)
        return frame

    workers = max(1, min(threads, MOST_THREADS))
    ahead = workers + min(workers, _MOST_AHEAD)
    pending: deque[tuple[Future[bytes], int]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for buffer, length in blocks:
                pending.append((pool.submit(work, buffer, length), length))
                while len(pending) > ahead or (pending and pending[0][0].done()):
                    future, plain = pending.popleft()
                    yield future.result(), plain
            while pending:
                future, plain = pending.popleft()
                yield future.result(), plain
        finally:
            for future, _ in pending:
                future.cancel()


def bringer(prefix: Prefix) -> Callable[[str], str]:
    """Return a function that says in a word or two who brought the file at a path."""
    return functools.partial(_bringer, prefix, read_conda_meta(prefix.path))


def _bringer(prefix: Prefix, installed: Installed, path: str) -> str:
    """Say who brought a file: postBuild, a wheel, or a conda package."""
    for change in prefix.changes:
        if change.path == path and change.by == "postBuild":
            return "postBuild"
        if change.path == path:
            return f"{change.package or 'a package'}, by pip"
    return installed.owners.get(path) or owning_wheel(prefix.path, path) or "of no package"


def _head(job: _Job, members: list[Member], table: PlaceholderTable) -> _Head:
    content = table.encoded()
    placeholders = Member(PLACEHOLDERS, "0644", len(content), sha256_bytes(content))
    folders = [Member(path, "dir", 0, "-") for path in _HEAD_FOLDERS]
    listed = [*folders, placeholders, *members]
    listing = format_listing(listed)
    contents = Contents(
        unpacked_size=sum(member.size for member in listed),
        files=sum(member.kind != "dir" for member in listed),
        tree_digest=sha256_bytes(listing),
        mended=len(table.records),
        notes=job.collection.notes,
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


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_COPY_CHUNK):
        yield piece


def _copy(pieces: Iterator[bytes], file: IO[bytes]) -> tuple[str, int]:
    """Write pieces; return their sha256, which another thread computes, and their size."""
    digest = hashlib.sha256()
    size = 0
    with ThreadPoolExecutor(1) as pool:
        hashed: Future[None] | None = None
        for piece in pieces:
            if hashed is not None:
                hashed.result()
            hashed = pool.submit(digest.update, piece)
            file.write(piece)
            size += len(piece)
    return digest.hexdigest(), size


def _archive(target: Path, form: Format, sha256: str, size: int, contents: Contents) -> Archive:
    """Return the value that stands for what was written."""
    return Archive(
        path=target,
        format=form,
        sha256=sha256,
        size=size,
        unpacked_size=contents.unpacked_size,
        files=contents.files,
        tree_digest=contents.tree_digest,
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
