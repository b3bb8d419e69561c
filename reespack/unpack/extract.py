"""Writing an archive's members to disk: checked, mended, each file once."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reespack.archive.conda_unpack import PLACEHOLDERS, decoded, mended, too_long
from reespack.archive.header import padding
from reespack.errors import UnpackError, VerificationError
from reespack.unpack.stream import require_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from reespack.archive.listing import Member
    from reespack.unpack.stream import TarStream

__all__ = ["Mending", "extract", "finish", "make_folders", "read_mending", "write_file"]

LARGE = 1 << 23
"""Bytes from which on a file is written as it streams, instead of at once."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODES = {"0644": 0o644, "0755": 0o755}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """Where the prefix belongs, and what it will be."""

    texts: list[bytes]
    records: Mapping[str, Any]
    prefix: bytes

    def mended(self, member: Member, content: bytes) -> bytes:
        """Return a file's content with the environment's place in it."""
        record = self.records[member.path]
        result = mended(content, record, self.texts, None, self.prefix)
        if result is None:
            raise VerificationError(
                f"{member.path} does not have its prefixes where they should be"
            )
        return result


def read_mending(content: bytes, prefix: bytes) -> Mending:
    """Read placeholders.json; raise UnpackError when a binary file has no room for the prefix."""
    try:
        placeholders = decoded(content)
        no_room = too_long(placeholders, prefix)
        records = {record["path"]: record for record in placeholders[1]}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UnpackError(f"{PLACEHOLDERS} cannot be read: {error}") from error
    if no_room:
        path, room = min(no_room, key=lambda item: item[1])
        raise UnpackError(
            f"{os.fsdecode(prefix)} is too long for {path}, which has room for {room} bytes",
            hint="unpack into a folder with a shorter path",
        )
    return Mending(texts=placeholders[0], records=records, prefix=prefix)


def extract(  # noqa: PLR0913 - what goes where, and how
    stream: TarStream,
    members: Iterable[Member],
    root: Path | str,
    mending: Mending,
    advance: Callable[[int], None],
    *,
    sums: bool,
) -> None:
    """Write the files among the next `members` below `root`; links and folders are others' task.

    With `sums`, each is held against the listing; else whoever calls this takes the archive's own
    sum. One thread, on purpose: in Python, threads that write small files wait for each other.
    """
    for member in members:
        require_header(stream, member)
        if member.size >= LARGE:
            _write_large(stream, member, root, mending, sums=sums)
        elif member.is_file:
            content: memoryview | bytes = stream.take(member.size)
            if sums:
                _check(member, hashlib.sha256(content).hexdigest())
            stream.take(padding(member.size))
            if member.path in mending.records:
                content = mending.mended(member, bytes(content))
            write_file(root, member, content, stream.mtime)
        advance(member.size)


def make_folders(root: Path, members: Iterable[Member]) -> None:
    """Make all folders."""
    for member in members:
        if member.kind == "dir":
            os.mkdir(f"{root}/{member.path}", 0o700)  # noqa: PTH102 - names are strings here


def write_file(root: Path | str, member: Member, content: memoryview | bytes, mtime: int) -> None:
    """Write a new file with the member's mode, whatever the umask, and the archive's time."""
    mode = _MODES[member.kind]
    handle = os.open(f"{root}/{member.path}", _NEW_FILE, mode)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        _seal(handle, mode, mtime)
    finally:
        os.close(handle)


def _write_large(
    stream: TarStream, member: Member, root: Path | str, mending: Mending, *, sums: bool
) -> None:
    """Write a file as it comes, however large; the few that need mending are mended at the end."""
    digest = hashlib.sha256()
    path = f"{root}/{member.path}"
    mode = _MODES[member.kind]
    handle = os.open(path, _NEW_FILE, mode)
    try:
        left = member.size
        while left:
            piece = stream.some(left)
            left -= len(piece)
            if sums:
                digest.update(piece)
            while piece:
                piece = piece[os.write(handle, piece) :]
        if sums:
            _check(member, digest.hexdigest())
        stream.take(padding(member.size))
        if member.path in mending.records:
            _mend_written(member, path, handle, mending)
        _seal(handle, mode, stream.mtime)
    finally:
        os.close(handle)


def _mend_written(member: Member, path: str, handle: int, mending: Mending) -> None:
    with open(path, "rb") as file:  # noqa: PTH123 - names are strings here
        content = mending.mended(member, file.read())
    os.ftruncate(handle, len(content))
    left = memoryview(content)
    while left:
        left = left[os.pwrite(handle, left, len(content) - len(left)) :]


def _seal(handle: int, mode: int, mtime: int) -> None:
    """Give a file its mode, if the umask took some of it, and its time."""
    if stat.S_IMODE(os.fstat(handle).st_mode) != mode:
        os.fchmod(handle, mode)
    os.utime(handle, (mtime, mtime))


def _check(member: Member, digest: str) -> None:
    if digest != member.value:
        raise VerificationError(
            f"{member.path} is damaged: its sha256 is not the listing's",
            hint="fetch or build the archive again",
        )


def finish(root: Path, members: Iterable[Member], mtime: int) -> None:
    """Make the links, now that nothing can be written through them, and set the folders' times."""
    folders = []
    for member in members:
        path = f"{root}/{member.path}"
        if member.is_link:
            os.symlink(member.value, path)  # noqa: PTH211 - names are strings here
            os.utime(path, (mtime, mtime), follow_symlinks=False)
        elif member.kind == "dir":
            folders.append(path)
    for path in reversed(folders):
        os.chmod(path, 0o755)  # noqa: PTH101, S103 - others may read, as in the archive
        os.utime(path, (mtime, mtime))
