"""Finding the build prefix in a file, and putting a placeholder of constant form in its place.

Where a package announced a placeholder, the file becomes what it was in the package, byte for byte;
so the archive does not depend on where it was built, and a binary file keeps the room that its
package left. Elsewhere (pip's files, postBuild's) text gets a placeholder of its own, and a
NUL-terminated string in a binary file one of the build prefix's length.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reespack.pack.conda_meta import Announced

__all__ = ["BuildPrefix", "Leftover", "PlaceholderTable"]

PLACEHOLDER = "/reespack_placeholder_of_the_environments_own_path"
_LOOSE_FILLER = "_placehold"
_LONGEST_STRING = 1 << 14
_UNMENDABLE = (
    b"PK\x03\x04",  # zip: offsets and checksums
    b"SQLite format 3\0",
    b"\x80\x02",  # pickle, by protocol: strings carry their length
    b"\x80\x03",
    b"\x80\x04",
    b"\x80\x05",
    b"\x89HDF",
)


class Leftover(Exception):  # noqa: N818 - not an error yet: all of them are collected
    """The build prefix stands where it cannot be replaced."""


class PlaceholderTable:
    """The records of placeholders.json, as they come."""

    def __init__(self) -> None:
        self._indices: dict[str, int] = {}
        self.records: list[dict[str, Any]] = []

    def index(self, placeholder: str) -> int:
        """Return the number of a placeholder; while packing, the text itself stands for it."""
        return self._indices.setdefault(placeholder, len(self._indices))

    def encoded(self) -> bytes:
        """Return placeholders.json: one record per line, so that two of them can be compared."""
        records = ",\n".join(json.dumps(record) for record in self.records)
        texts = json.dumps(list(self._indices), indent=0)
        return f'{{"format": 1,\n"placeholders": {texts},\n"files": [\n{records}\n]}}\n'.encode()


class BuildPrefix:
    """The names under which files may know the build prefix: as given, and resolved."""

    def __init__(self, prefix: Path, table: PlaceholderTable) -> None:
        self.path = prefix
        names = {os.fsencode(prefix.absolute()), os.fsencode(prefix.resolve())}
        self.needles = tuple(sorted(names, key=lambda name: (-len(name), name)))
        any_name = b"|".join(map(re.escape, self.needles))
        self._names = re.compile(any_name)
        self._table = table
        self._quoted = tuple(
            os.fsencode(text)
            for text in (quote(name) for name in self.needles)
            if os.fsencode(text) not in self.needles
        )
        self._spellings = self.needles + self._quoted
        # pip, uv and rattler start a script through sh when the prefix is long or has blanks:
        # the same script must come out, whatever the build folder's length.
        self._through_sh = re.compile(
            rb"""#!/bin/sh\n'''exec' (["']?)("""
            + any_name
            + rb""")(/[^"'\n ]+)\1((?: [^\n"']+)?) "\$0" "\$@"(?: #'''\n|\n' '''\n)"""
        )
        self._line = re.compile(rb"(#![ \t]*)(" + any_name + rb")(/[^\n]*)")
        self._through_env = re.compile(rb"#!/usr/bin/env (?:-S )?([^/\s]+)([^\n]*)")

    def stands_in(self, content: bytes | bytearray, start: int, end: int) -> bool:
        """Say whether the prefix stands somewhere in content[start:end]."""
        for needle in self._spellings:  # noqa: SIM110 - any() takes longer than most files
            if content.find(needle, start, end) >= 0:
                return True
        return False

    def replaced(self, path: str, content: bytes, announced: Announced | None) -> bytes:
        """Return a file's content with placeholders, and take down where they are.

        Raises Leftover, with the reason, when a prefix remains.
        """
        if any(quoted in content for quoted in self._quoted):
            raise Leftover("as part of a URL, in another spelling")
        if b"\0" not in content or (announced and announced.mode == "text"):
            return self._replaced_in_text(path, content, announced)
        return self._replaced_in_binary(path, content, announced)

    def _replaced_in_text(self, path: str, content: bytes, announced: Announced | None) -> bytes:
        text = announced.placeholder if announced else PLACEHOLDER
        placeholder = os.fsencode(text)
        record: dict[str, Any] = {"path": path, "text": self._table.index(text)}
        pieces: list[bytes] = []
        start = length = 0
        if first := self._first_line(content, announced):
            before, after, start = first
            record["shebang"] = [os.fsdecode(before), os.fsdecode(after)]
            pieces.append(before + placeholder + after)
            length = len(pieces[0])
        offsets: list[int] = []
        for match in self._names.finditer(content, start):
            pieces += [content[start : match.start()], placeholder]
            offsets.append(length + match.start() - start)
            length = offsets[-1] + len(placeholder)
            start = match.end()
        pieces.append(content[start:])
        result = b"".join(pieces)
        if offsets or first:
            self._table.records.append({**record, "at": offsets, "size": len(result)})
        return result

    def _first_line(
        self, content: bytes, announced: Announced | None
    ) -> tuple[bytes, bytes, int] | None:
        """Return what stands before and after the prefix in a `#!` line, and where that ends."""
        if match := self._through_sh.match(content):
            return b"#!", match[3] + match[4], match.end() - 1
        if match := self._line.match(content):
            return match[1], match[3], match.end()
        if announced and (match := self._through_env.match(content)):
            program = os.fsdecode(match[1])
            if (self.path / "bin" / program).exists():  # what a long build prefix makes of `#!`
                return b"#!", b"/bin/" + match[1] + match[2], match.end()
        return None

    def _replaced_in_binary(self, path: str, content: bytes, announced: Announced | None) -> bytes:
        if announced is None and content.startswith(_UNMENDABLE):
            raise Leftover("in a format that cannot be mended")
        if path.endswith(".pyc"):
            raise Leftover("in bytecode")
        result = bytearray(content)
        strings: list[list[int]] = []
        loose = announced is None
        here = 0
        while match := self._names.search(content, here):
            end = content.find(b"\0", match.start())
            if end < 0 or end - match.start() > _LONGEST_STRING:
                raise Leftover("in a binary file, outside of any NUL-terminated string")
            string = content[match.start() : end]
            room = self._room(content, string, end, announced)
            if room is None:
                room, placeholder, loose = end, self._loose_placeholder(string), True
            else:
                placeholder = announced.placeholder if announced else ""
            where = self._placed(result, match.start(), string, placeholder, room)
            strings.append([self._table.index(placeholder), *where, room])
            here = room
        if strings:
            record: dict[str, Any] = {"path": path, "strings": strings}
            self._table.records.append({**record, "loose": True} if loose else record)
        return bytes(result)

    def _room(
        self, content: bytes, string: bytes, end: int, announced: Announced | None
    ) -> int | None:
        """Return where the string ended in the package, or None when that cannot be told."""
        if announced is None:
            return None
        length = len(os.fsencode(announced.placeholder))
        gained = sum(length - len(match[0]) for match in self._names.finditer(string))
        if gained < 0 or content[end : end + gained].strip(b"\0"):
            return None
        return end + gained if len(content) >= end + gained else None

    def _loose_placeholder(self, string: bytes) -> str:
        lengths = {len(match[0]) for match in self._names.finditer(string)}
        if len(lengths) > 1 or not string.isascii() or not string.decode().isprintable():
            raise Leftover("in a binary file, in what is no path")
        (length,) = lengths
        return ("/reespack" + _LOOSE_FILLER * length)[:length]

    def _placed(
        self, result: bytearray, start: int, string: bytes, placeholder: str, end: int
    ) -> Iterable[int]:
        """Write a string with placeholders over its room; return the placeholders' offsets."""
        filler = os.fsencode(placeholder)
        offsets, pieces, last, length = [], [], 0, 0
        for match in self._names.finditer(string):
            pieces += [string[last : match.start()], filler]
            offsets.append(start + length + match.start() - last)
            length += match.start() - last + len(filler)
            last = match.end()
        pieces.append(string[last:])
        result[start:end] = b"".join(pieces).ljust(end - start, b"\0")
        return offsets
