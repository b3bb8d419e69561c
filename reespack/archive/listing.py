"""`share/reespack/files.tsv`: every member of an archive, one per line, in the archive's order.

    path TAB kind TAB size TAB value

`kind` is `0644` or `0755` for a file (value: its sha256), `dir` (value: `-`), `link` (value: the
target) or `outside` for a link that leads out of the environment. Backslash, tab, line feed and
carriage return in names are written as in C. The sha256 of this very file is the environment's
tree digest. The manifest and the listing itself are not in it.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import LISTING, MANIFEST
from reespack.errors import UnpackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Member",
    "checked_batches",
    "format_listing",
    "leads_out",
    "parse_listing",
    "read_lines",
]

KINDS = frozenset({"0644", "0755", "dir", "link", "outside"})
_FILES = frozenset({"0644", "0755"})
_NO_NAMES = frozenset({"", ".", ".."})
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ODD = re.compile(r"[\\\t\n\r]")
_ESCAPED = re.compile(r"\\[\\tnr]")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Member(NamedTuple):
    """One line of the listing; `size` is in bytes, and 0 for what is not a file.

    No dataclass: a frozen one takes three times as long to make, and there are tens of thousands.
    """

    path: str
    kind: str
    size: int
    value: str

    @property
    def is_link(self) -> bool:
        """Say whether this is a symbolic link."""
        return self.kind in {"link", "outside"}

    @property
    def is_file(self) -> bool:
        """Say whether this is a regular file."""
        return self.kind in _FILES


_make = functools.partial(tuple.__new__, Member)
"""Member._make without a call of a function in Python."""

_BATCH = 2000
"""Members that are read at once, so that others can begin with them."""


def format_listing(members: Iterable[Member]) -> bytes:
    """Return the listing's bytes."""
    lines = [
        f"{_escape(member.path)}\t{member.kind}\t{member.size}\t{_escape(member.value)}\n"
        for member in members
    ]
    return os.fsencode("".join(lines))


def parse_listing(content: bytes) -> tuple[Member, ...]:
    """Read a listing; raise UnpackError as `checked_batches` does."""
    return tuple(itertools.chain.from_iterable(checked_batches(content)))


def checked_batches(content: bytes) -> Iterator[tuple[Member, ...]]:
    """Yield the members of a listing, some at a time, each checked against all before it.

    Raises UnpackError for what is malformed or leads out of the target: no path is absolute, has
    `..`, comes twice or passes through a link; every folder is a member before what is in it; no
    `link` leads out.
    """
    folders, seen = {""}, {MANIFEST, LISTING}
    lines = io.BytesIO(content)
    number = 0
    while batch := b"".join(itertools.islice(lines, _BATCH)):
        members = tuple(read_lines(batch, first=number + 1))
        for member in members:
            number += 1
            if problem := _problem(member, folders, seen):
                raise UnpackError(
                    f"{LISTING}:{number}: {member.path!r} {problem}",
                    hint="the archive is damaged or means harm; nothing of it was unpacked",
                )
            seen.add(member.path)
            if member.kind == "dir":
                folders.add(member.path)
        yield members


def read_lines(content: bytes, *, first: int = 1) -> Iterator[Member]:
    """Return the members of a listing, or of some lines of one, that was checked before.

    `first` is the number of the first line. Raises UnpackError for what is no line of a listing,
    whatever it says.
    """
    rows = [line.split("\t") for line in os.fsdecode(content).split("\n")[:-1]]
    if b"\\" in content:
        rows = [list(map(_unescape, row)) for row in rows]
    try:
        if rows and set(map(len, rows)) == {len(Member._fields)}:
            paths, kinds, sizes, values = zip(*rows, strict=True)
            return map(_make, zip(paths, kinds, list(map(int, sizes)), values, strict=True))
    except ValueError:  # a size that is no number
        pass
    return iter([_member(number, row) for number, row in enumerate(rows, start=first)])


def _member(number: int, row: list[str]) -> Member:
    try:
        path, kind, size, value = row
        return Member(path, kind, int(size), value)
    except ValueError:
        raise UnpackError(f"{LISTING}:{number}: is not a line of a listing") from None


def leads_out(path: str, target: str) -> bool:
    """Say whether a link at `path` (relative to the environment) leads out of the environment.

    A `..` after a name counts as leading out: what it means depends on where other links lead.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    if ".." in parts[parts.count("..") :]:
        return True
    landing = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return target.startswith("/") or landing == ".." or landing.startswith("../")


def _problem(  # noqa: PLR0911 - one for each
    member: Member, folders: set[str], seen: set[str]
) -> str | None:
    """Say what is wrong with a member; the names of `folders` have been looked at before."""
    path, kind, size, value = member
    parent, _, name = path.rpartition("/")
    if name in _NO_NAMES or path.startswith("/"):
        return "is no path inside an environment"
    if path in seen:
        return "comes twice"
    if parent not in folders:
        return "lies in a folder that is not listed"
    if kind not in KINDS or size < 0 or "\0" in path:
        return "is of no known kind"
    if kind in _FILES:  # almost all are, and have been looked at in no more than this
        return None if _DIGEST.fullmatch(value) else "has no sha256"
    if "\0" in value:
        return "is of no known kind"
    if size:
        return "has a size but no content"
    if kind == "link" and (leads_out(path, value) or not value):
        return f"leads out of the environment, to {value!r}"
    return None


def _escape(text: str) -> str:
    return _ODD.sub(lambda match: _ESCAPES[match[0]], text) if _ODD.search(text) else text


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: _UNESCAPES[match[0]], text) if "\\" in text else text
