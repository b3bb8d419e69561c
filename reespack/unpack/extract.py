"""Writing an archive's members to disk: checked, mended, each file once."""

from __future__ import annotations

import contextlib
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

__all__ = ["Mending", "NewFiles", "Rest", "extract", "finish", "read_mending"]

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
    """Writes files below a folder, each with its member's mode, whatever the umask.

    The folders that they are in are made on the way. What is made has the time at which it is made:
    file systems for scratch data are purged of what is old.
    """

    def __init__(self, root: Path | str) -> None:
        self._root = f"{root}/"
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
    lines: Lines,
    files: NewFiles,
    mending: Mending,
    *,
    sums: bool,
    advance: Callable[[int], None] | None = None,
) -> None:
    """Write the files among the next members; links and empty folders are for `finish`.

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


class Rest:
    """What is to be made when all files have been written, and how much there is in all.

    `files` counts what is not a folder, `size` their bytes.
    """

    def __init__(self) -> None:
        self.files = 0
        self.size = 0
        self.members: list[Member] = []
        self.filled: set[str] = set()

    def add(self, lines: Lines) -> Lines:
        """Take note of members, and return them."""
        self.files += len(lines.kinds) - lines.kinds.count("dir")
        self.size += sum(lines.sizes)
        self.filled |= lines.folders()
        if not _MODES.keys() >= set(lines.kinds):
            self.members += [member for member in lines.members() if not member.is_file]
        return lines


def finish(root: Path, rest: Rest) -> None:
    """Make the folders that nothing is in, and the links.

    Others may read all folders, as in the archive, whatever the umask and the target's ACLs leave
    of a new folder's mode: what they leave of the first one, they leave of all.
    """
    folders = []
    for path, kind, _, target in rest.members:
        place = f"{root}/{path}"
        if kind == "dir":
            folders.append(place)
            if path not in rest.filled:
                make_folder(place)
        else:
            make_folder(place.rpartition("/")[0])
            os.symlink(target, place)  # noqa: PTH211
    if folders and stat.S_IMODE(os.stat(folders[0]).st_mode) != _FOLDER_MODE:  # noqa: PTH116
        for path in folders:
            os.chmod(path, _FOLDER_MODE)  # noqa: PTH101
