"""Writing an archive's members to disk: checked, mended, each file once."""

from __future__ import annotations

import functools
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from reespack.archive.conda_unpack import PLACEHOLDERS, decoded, mended, too_long
from reespack.archive.header import header_size, padding
from reespack.archive.listing import Member
from reespack.errors import UnpackError, VerificationError
from reespack.unpack.stream import require_header

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from reespack.archive.listing import Lines
    from reespack.unpack.stream import TarStream

__all__ = ["Mending", "NewFiles", "Rest", "extract", "finish", "make_folders", "read_mending"]

LARGE = 1 << 23
"""Bytes from which on a file is written as it streams, instead of at once."""

_AT_ONCE = 1 << 16
"""Bytes that are written to a file at once. Linux puts them into a page as large as that, and where
memory is full of other files, it moves those about to make room for large pages."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODES = {"0644": 0o644, "0755": 0o755}
_FOLDER_MODE = 0o755


class Mending(NamedTuple):
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


class NewFiles:
    """Writes files into folders below `root`, each with its member's mode, whatever the umask.

    What is made has the time at which it is made: file systems for scratch data are purged of what
    is old.
    """

    def __init__(self, root: Path | str) -> None:
        self._root = f"{root}/"
        self._as_asked: set[str] = set()

    def write(self, path: str, kind: str, content: memoryview | bytes) -> None:
        """Write a file at once."""
        handle = os.open(self._root + path, _NEW_FILE, _MODES[kind])
        try:
            done = 0 if len(content) > _AT_ONCE else os.write(handle, content)
            if done < len(content):
                _write_all(handle, memoryview(content)[done:])
            if kind not in self._as_asked:
                self._set_mode(handle, kind)
        finally:
            os.close(handle)

    def write_pieces(
        self, member: Member, pieces: Iterable[memoryview], mend: Callable[[bytes], bytes] | None
    ) -> None:
        """Write a file as it comes, however large; the few that need mending are mended then."""
        handle = os.open(self._root + member.path, _NEW_FILE, _MODES[member.kind])
        try:
            for piece in pieces:
                _write_all(handle, piece)
            if mend:
                with open(self._root + member.path, "rb") as file:  # noqa: PTH123
                    content = mend(file.read())
                os.ftruncate(handle, 0)
                os.lseek(handle, 0, os.SEEK_SET)
                _write_all(handle, memoryview(content))
            self._set_mode(handle, member.kind)
        finally:
            os.close(handle)

    def _set_mode(self, handle: int, kind: str) -> None:
        """Give a file its mode if the umask, or a folder's ACL, took some of it.

        What one file got, all like it get: the umask is this process's, and ACLs are inherited.
        """
        mode = _MODES[kind]
        if stat.S_IMODE(os.fstat(handle).st_mode) == mode:
            self._as_asked.add(kind)
        else:
            os.fchmod(handle, mode)


def _write_all(handle: int, content: memoryview) -> None:
    while content:
        content = content[os.write(handle, content[:_AT_ONCE]) :]


def extract(  # noqa: PLR0913 - what goes where, and how
    stream: TarStream,
    lines: Lines,
    files: NewFiles,
    mending: Mending,
    *,
    sums: bool,
    advance: Callable[[int], None] | None = None,
) -> None:
    """Write the files among the next members; their folders are there, links are for `finish`.

    With `sums`, each is held against the listing; else whoever calls this takes the archive's own
    sum, and a file's header, which says nothing that the listing does not, is passed over.
    `advance` is told the bytes of each. One thread, on purpose: in Python, threads that write small
    files wait for each other.
    """
    records = mending.records
    for path, kind, size, value in zip(*lines, strict=True):
        passed = 0
        if sums or kind not in _MODES:
            require_header(stream, Member(path, kind, size, value))
        else:
            passed = header_size(path)
        if size >= LARGE:
            member = Member(path, kind, size, value)
            stream.take(0, before=passed)
            pieces = _pieces(stream, member, sums=sums)
            mend = functools.partial(mending.mended, member)
            files.write_pieces(member, pieces, mend if path in records else None)
        elif kind in _MODES:
            content: memoryview | bytes = stream.take(size, before=passed, after=padding(size))
            if sums:
                _check(Member(path, kind, size, value), _sha256(content))
            if path in records:
                content = mending.mended(Member(path, kind, size, value), bytes(content))
            files.write(path, kind, content)
        if advance:
            advance(size)


def _pieces(stream: TarStream, member: Member, *, sums: bool) -> Iterator[memoryview]:
    """Yield a file's content as it comes; raise VerificationError at the end if it is another."""
    digest = _sha256(b"") if sums else None
    left = member.size
    while left:
        piece = stream.some(left)
        left -= len(piece)
        if digest:
            digest.update(piece)
        yield piece
    stream.take(padding(member.size))
    if digest:
        _check(member, digest)


def _sha256(content: memoryview | bytes) -> hashlib._Hash:
    import hashlib  # most of the time nobody asks for sums

    return hashlib.sha256(content)


def _check(member: Member, digest: hashlib._Hash) -> None:
    if digest.hexdigest() != member.value:
        raise VerificationError(
            f"{member.path} is damaged: its sha256 is not the listing's",
            hint="fetch or build the archive again",
        )


class Rest:
    """What there is besides files, each folder before those in it, and how much there is in all.

    `files` counts what is not a folder, `size` their bytes.
    """

    def __init__(self) -> None:
        self.files = 0
        self.size = 0
        self.folders: list[str] = []
        self.links: list[Member] = []

    def add(self, lines: Lines) -> list[str]:
        """Take note of members, and return the folders among them."""
        folders: list[str] = []
        if not _MODES.keys() >= set(lines.kinds):
            others = [member for member in lines.members() if not member.is_file]
            folders += [member.path for member in others if member.kind == "dir"]
            self.links += [member for member in others if member.is_link]
        self.folders += folders
        self.files += len(lines.kinds) - len(folders)
        self.size += sum(lines.sizes)
        return folders


def make_folders(root: Path, folders: Iterable[str]) -> None:
    """Make folders below `root`, each after the one that it lies in.

    Raises the OSError of one that cannot be made.
    """
    top = f"{root}/"
    for path in folders:
        os.mkdir(top + path, _FOLDER_MODE)  # noqa: PTH102 - paths are strings here


def finish(root: Path, rest: Rest) -> None:
    """Make the links, and let others read all folders, as in the archive.

    That is whatever the umask and the target's ACLs leave of a new folder's mode: what they leave
    of the first one, they leave of all.
    """
    for path, _, _, target in rest.links:
        os.symlink(target, f"{root}/{path}")  # noqa: PTH211
    folders = [f"{root}/{path}" for path in rest.folders]
    if folders and stat.S_IMODE(os.stat(folders[0]).st_mode) != _FOLDER_MODE:  # noqa: PTH116
        for path in folders:
            os.chmod(path, _FOLDER_MODE)  # noqa: PTH101
