"""`share/reespack/files.tsv`: every member of an archive, one per line, in the archive's order.

    path TAB kind TAB size TAB value

`kind` is `0644` or `0755` for a file (value: its sha256), `dir` (value: `-`), `link` (value: the
target) or `outside` for a link that leads out of the environment. Backslash, tab, line feed and
carriage return in names are written as in C. The sha256 of this very file is the environment's
tree digest. The manifest and the listing itself are not in it.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reespack.archive import LISTING, MANIFEST
from reespack.errors import UnpackError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Member", "format_listing", "leads_out", "parse_listing"]

KINDS = frozenset({"0644", "0755", "dir", "link", "outside"})
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ODD = re.compile(r"[\\\t\n\r]")
_ESCAPED = re.compile(r"\\[\\tnr]")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Member:
    """One line of the listing; `size` is in bytes, and 0 for what is not a file."""

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
        return self.kind in {"0644", "0755"}


def format_listing(members: Iterable[Member]) -> bytes:
    """Return the listing's bytes."""
    lines = [
        f"{_escape(member.path)}\t{member.kind}\t{member.size}\t{_escape(member.value)}\n"
        for member in members
    ]
    return os.fsencode("".join(lines))


def parse_listing(content: bytes) -> tuple[Member, ...]:
    """Read a listing; raise UnpackError for one that is malformed or that leads out of the target.

    No path is absolute, has `..`, comes twice or passes through a link; every folder is a member
    before what is in it; no `link` leads out.
    """
    members: list[Member] = []
    folders = {""}
    seen = {MANIFEST, LISTING}
    for number, line in enumerate(os.fsdecode(content).split("\n")[:-1], start=1):
        try:
            path, kind, size, value = line.split("\t")
            member = Member(_unescape(path), kind, int(size), _unescape(value))
        except ValueError:
            raise UnpackError(f"{LISTING}:{number}: is not a line of a listing") from None
        _check(member, folders, seen, number)
        seen.add(member.path)
        if kind == "dir":
            folders.add(member.path)
        members.append(member)
    return tuple(members)


def leads_out(path: str, target: str) -> bool:
    """Say whether a link at `path` (relative to the environment) leads out of the environment.

    A `..` after a name counts as leading out: what it means depends on where other links lead.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    if ".." in parts[parts.count("..") :]:
        return True
    landing = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return target.startswith("/") or landing == ".." or landing.startswith("../")


def _check(member: Member, folders: set[str], seen: set[str], number: int) -> None:
    path = member.path
    parent = path.rpartition("/")[0]
    if path.startswith("/") or any(part in {"", ".", ".."} for part in path.split("/")):
        problem = "is no path inside an environment"
    elif path in seen:
        problem = "comes twice"
    elif parent not in folders:
        problem = "lies in a folder that is not listed"
    elif member.kind not in KINDS or member.size < 0 or "\0" in path + member.value:
        problem = "is of no known kind"
    elif member.is_file and not _DIGEST.fullmatch(member.value):
        problem = "has no sha256"
    elif not member.is_file and member.size:
        problem = "has a size but no content"
    elif member.kind == "link" and (leads_out(path, member.value) or not member.value):
        problem = f"leads out of the environment, to {member.value!r}"
    else:
        return
    raise UnpackError(
        f"{LISTING}:{number}: {path!r} {problem}",
        hint="the archive is damaged or was made to do harm; nothing of it was unpacked",
    )


def _escape(text: str) -> str:
    return _ODD.sub(lambda match: _ESCAPES[match[0]], text) if _ODD.search(text) else text


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: _UNESCAPES[match[0]], text) if "\\" in text else text
