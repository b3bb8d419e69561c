"""A file of the cache that holds the bytecode of one package, for one Python.

    bytecode of one source after the other, in any order
    index       JSON: [[source, sha256 of the source, offset, size, sha256 of the bytecode], ...]
    footer      the index's length (eight bytes, big-endian) and "reespyc2"

A size of 0 says that the source does not compile. The index comes last so that a bundle can be
written while it is compiled, however large the package.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from typing import IO, TYPE_CHECKING

from reespack.files import temporary_beside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Entry = tuple[str, int, int, str]

__all__ = ["BundleWriter", "new_bundle", "read_bundle"]

_FOOTER = struct.Struct(">Q8s")
_MAGIC = b"reespyc2"


def read_bundle(path: Path) -> dict[str, Entry]:
    """Return (sha256 of the source, offset, size, sha256) by source; empty for no whole bundle."""
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size - _FOOTER.size
            length, magic = _FOOTER.unpack(os.pread(file.fileno(), _FOOTER.size, max(end, 0)))
            if magic != _MAGIC:
                return {}
            index = json.loads(os.pread(file.fileno(), length, end - length))
    except (OSError, ValueError, struct.error):
        return {}
    return {source: (sha256, start, size, own) for source, sha256, start, size, own in index}


class BundleWriter:
    """A bundle under way, begun with what an earlier one holds."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._entries: dict[str, Entry] = {}

    def take(self, earlier: Path, entries: Mapping[str, Entry]) -> None:
        """Begin with `entries` of another bundle."""
        with earlier.open("rb") as file:
            for source, (sha256, offset, size, _) in sorted(entries.items()):
                self.add(source, sha256, os.pread(file.fileno(), size, offset))

    def add(self, source: str, sha256: str, content: bytes) -> None:
        """Add the bytecode of a source; nothing when there is none."""
        own = hashlib.sha256(content).hexdigest() if content else ""
        self._entries[source] = (sha256, self._file.tell(), len(content), own)
        self._file.write(content)

    def end(self) -> None:
        """Write the index."""
        rows = [[source, *entry] for source, entry in sorted(self._entries.items())]
        index = json.dumps(rows, separators=(",", ":")).encode()
        self._file.write(index + _FOOTER.pack(len(index), _MAGIC))


@contextlib.contextmanager
def new_bundle(path: Path) -> Iterator[BundleWriter]:
    """Yield a writer for a bundle that appears at `path` at the end, whole or not at all."""
    with temporary_beside(path) as temporary, temporary.open("wb") as file:
        writer = BundleWriter(file)
        yield writer
        writer.end()
