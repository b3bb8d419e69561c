"""`share/reespack/files.tsv`: every member of an archive, one per line, in the archive's order.

    path TAB kind TAB size TAB value

`kind` is `0644` or `0755` for a file (value: its sha256), `dir` (value: `-`), `link` (value: the
target) or `outside` for a link that leads out of the environment. Backslash, tab, line feed and
carriage return in names are written as in C. The sha256 of this very file is the environment's
tree digest. The manifest and the listing itself are not in it.
"""

from __future__ import annotations

import contextlib
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
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "Lines",
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
_DIGITS = 64
_DIGEST = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


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


class Lines(NamedTuple):
    """Some lines of the listing by column: to have tens of thousands of members takes longer."""

    paths: Sequence[str]
    kinds: Sequence[str]
    sizes: Sequence[int]
    values: Sequence[str]

    def members(self) -> Iterator[Member]:
        """Return the members of these lines."""
        return map(_make, zip(*self, strict=True))

    def cut(self, count: int) -> tuple[Lines, Lines]:
        """Return the first `count` lines, and the others."""
        paths, kinds, sizes, values = self
        first = Lines(paths[:count], kinds[:count], sizes[:count], values[:count])
        return first, Lines(paths[count:], kinds[count:], sizes[count:], values[count:])


_FIELDS = len(Member._fields)
_SIZE = Member._fields.index("size")
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
    batches = checked_batches(content)
    return tuple(itertools.chain.from_iterable(lines.members() for lines in batches))


def checked_batches(content: bytes) -> Iterator[Lines]:
    """Yield the lines of a listing, some at a time, each checked against all before it.

    Raises UnpackError for what is malformed or leads out of the target: no path is absolute, has
    `..`, comes twice or passes through a link; every folder is a member before what is in it; no
    `link` leads out.
    """
    folders, seen = {""}, {MANIFEST, LISTING}
    text = io.BytesIO(content)
    number = 1
    while batch := b"".join(itertools.islice(text, _BATCH)):
        lines = read_lines(batch, first=number)
        here = set(lines.paths)
        if _sound(lines, here, folders, seen):
            seen |= here
        else:
            _check(lines.members(), number, folders, seen)
        yield lines
        number += len(lines.paths)


def read_lines(content: bytes, *, first: int = 1) -> Lines:
    """Read a listing, or some lines of one, and check no more than that they are lines.

    `first` is the number of the first line. Raises UnpackError for what is no line of a listing,
    whatever it says.
    """
    # Each line break becomes a field of its own: where every fifth is one, lines have four fields.
    fields = os.fsdecode(content).replace("\n", "\t\n\t").split("\t")
    paths, kinds, sizes, values, breaks = (fields[i : -1 : _FIELDS + 1] for i in range(_FIELDS + 1))
    if len(fields) == (_FIELDS + 1) * len(breaks) + 1 and breaks.count("\n") == len(breaks):
        if b"\\" in content:
            paths, values = list(map(_unescape, paths)), list(map(_unescape, values))
        with contextlib.suppress(ValueError):  # a size that is no number
            return Lines(paths, kinds, list(map(int, sizes)), values)
    bad = itertools.dropwhile(_is_line, os.fsdecode(content).split("\n"))
    number = first + content.count(b"\n") + 1 - len(list(bad))
    raise UnpackError(f"{LISTING}:{number}: is not a line of a listing")


def _is_line(line: str) -> bool:
    fields = line.split("\t")
    try:
        int(fields[_SIZE])
    except (ValueError, IndexError):
        return False
    return len(fields) == _FIELDS


def leads_out(path: str, target: str) -> bool:
    """Say whether a link at `path` (relative to the environment) leads out of the environment.

    A `..` after a name counts as leading out: what it means depends on where other links lead.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    if ".." in parts[parts.count("..") :]:
        return True
    landing = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return target.startswith("/") or landing == ".." or landing.startswith("../")


def _sound(lines: Lines, here: set[str], folders: set[str], seen: set[str]) -> bool:
    """Say whether lines are those of files of which `_problem` would say nothing.

    `here` are their paths. Most lines are, and to look at columns takes less time.
    """
    paths, kinds, sizes, values = lines
    parts = [path.rpartition("/") for path in paths]
    digests = "".join(values)
    return (
        _FILES.issuperset(kinds)
        and len(here) == len(paths)
        and seen.isdisjoint(here)
        and folders.issuperset({parent for parent, _, _ in parts})
        and _NO_NAMES.isdisjoint({name for _, _, name in parts})
        and not any(map(str.startswith, paths, itertools.repeat("/")))
        and "\0" not in "".join(paths)
        and min(sizes) >= 0
        and set(map(len, values)) == {_DIGITS}
        and digests.isascii()
        and not digests.encode().translate(None, b"0123456789abcdef")
    )


def _check(members: Iterable[Member], first: int, folders: set[str], seen: set[str]) -> None:
    """Check one member after the other, from line `first`; raise UnpackError for what is wrong."""
    for number, member in enumerate(members, start=first):
        if problem := _problem(member, folders, seen):
            raise UnpackError(
                f"{LISTING}:{number}: {member.path!r} {problem}",
                hint="the archive is damaged or means harm; nothing of it was unpacked",
            )
        seen.add(member.path)
        if member.kind == "dir":
            folders.add(member.path)


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
