"""Writing an archive's members to disk: checked, mended, each file once."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from reespack.archive.conda_unpack import PLACEHOLDERS, decoded, mended, too_long
from reespack.archive.header import header_size, padding
from reespack.errors import UnpackError, VerificationError
from reespack.unpack.stream import require_header

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from reespack.archive.listing import Member
    from reespack.unpack.stream import TarStream

__all__ = ["Mending", "NewFiles", "extract", "finish", "read_mending"]

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
    """Writes files below a folder, each with its member's mode, whatever the umask, and one time.

    The folders that they are in are made on the way.
    """

    def __init__(self, root: Path | str, mtime: int) -> None:
        self._root = f"{root}/"
        self._times = (mtime, mtime)
        self._as_asked: set[str] = set()

    def write(self, path: str, kind: str, content: memoryview | bytes) -> None:
        """Write a file at once."""
        handle = self._open(path, kind)
        try:
            done = 0 if len(content) > _AT_ONCE else os.write(handle, content)
            if done < len(content):
                _write_all(handle, memoryview(content)[done:])
            if kind not in self._as_asked:
                self._set_mode(handle, kind)
            os.utime(handle, self._times)
        finally:
            os.close(handle)

    def write_pieces(
        self, member: Member, pieces: Iterable[memoryview], mend: Callable[[bytes], bytes] | None
    ) -> None:
        """Write a file as it comes, however large; the few that need mending are mended then."""
        handle = self._open(member.path, member.kind)
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
            os.utime(handle, self._times)
        finally:
            os.close(handle)

    def _open(self, path: str, kind: str) -> int:
        place = self._root + path
        try:
            return os.open(place, _NEW_FILE, _MODES[kind])
        except FileNotFoundError:  # the first one in its folder
            make_folder(place.rpartition("/")[0])
            return os.open(place, _NEW_FILE, _MODES[kind])

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
    members: Iterable[Member],
    files: NewFiles,
    mending: Mending,
    *,
    sums: bool,
    advance: Callable[[int], None] | None = None,
) -> None:
    """Write the files among the next `members`; links and empty folders are for `finish`.

    With `sums`, each is held against the listing; else whoever calls this takes the archive's own
    sum, and a file's header, which says nothing that the listing does not, is passed over.
    `advance` is told the bytes of each. One thread, on purpose: in Python, threads that write small
    files wait for each other.
    """
    for member in members:
        path, kind, size, _ = member
        passed = 0
        if sums or kind not in _MODES:
            require_header(stream, member)
        else:
            passed = header_size(path)
        if size >= LARGE:
            stream.take(0, before=passed)
            pieces = _pieces(stream, member, sums=sums)
            mend = functools.partial(mending.mended, member)
            files.write_pieces(member, pieces, mend if path in mending.records else None)
        elif kind in _MODES:
            content: memoryview | bytes = stream.take(size, before=passed, after=padding(size))
            if sums:
                _check(member, _sha256(content))
            if path in mending.records:
                content = mending.mended(member, bytes(content))
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


def make_folder(path: str) -> None:
    """Make a folder and those that it lies in; others may be doing the same.

    Most of the time only the last one is missing, or none: os.makedirs looks for each first. Raises
    the OSError of one that cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        try:
            os.mkdir(path, _FOLDER_MODE)  # noqa: PTH102 - names are strings here
        except FileNotFoundError:
            parent = path.rpartition("/")[0]
            if not parent:
                raise
            make_folder(parent)
            os.mkdir(path, _FOLDER_MODE)  # noqa: PTH102


def finish(root: Path, members: Iterable[Member], mtime: int) -> None:
    """Make the folders that are not there, then the links, and set the times of both.

    Others may read all folders, as in the archive, whatever the umask and the target's ACLs leave
    of a new folder's mode: what they leave of the first one, they leave of all.
    """
    folders = []
    for path, kind, _, target in members:
        if kind in _MODES:
            continue
        place = f"{root}/{path}"
        if kind == "dir":
            folders.append(place)
        else:
            make_folder(place.rpartition("/")[0])
            os.symlink(target, place)  # noqa: PTH211
            os.utime(place, (mtime, mtime), follow_symlinks=False)
    for path in reversed(folders):  # what is in a folder comes before it
        _set_time(path, mtime)
    if folders and stat.S_IMODE(os.stat(folders[0]).st_mode) != _FOLDER_MODE:  # noqa: PTH116
        for path in folders:
            os.chmod(path, _FOLDER_MODE)  # noqa: PTH101


def _set_time(folder: str, mtime: int) -> None:
    try:
        os.utime(folder, (mtime, mtime))
    except FileNotFoundError:  # there is nothing in it
        make_folder(folder)
        os.utime(folder, (mtime, mtime))
