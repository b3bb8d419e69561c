"""The beginning of an archive, which says all that must be known before anything is written."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import PLACEHOLDERS
from reespack.archive.header import padding
from reespack.archive.listing import Lines, checked_batches
from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_bytes
from reespack.unpack.extract import Mending, read_mending
from reespack.unpack.stream import read_unlisted, require_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.unpack.stream import TarStream

__all__ = ["Head", "read_head"]

_FIRST = ("share", "share/reespack", PLACEHOLDERS)


class Head(NamedTuple):
    """The manifest and the listing as they are, and where prefixes belong.

    `first` are the members that have been read with the head; `batches` yields the others, once,
    each checked only then: some can be written while there are tens of thousands to look at.
    """

    manifest: bytes
    listing: bytes
    placeholders: bytes
    mending: Mending
    first: Lines
    batches: Iterator[Lines]

    @property
    def files(self) -> tuple[tuple[str, bytes], ...]:
        """The files that have been read with the head."""
        return (
            (MANIFEST, self.manifest),
            (LISTING, self.listing),
            (PLACEHOLDERS, self.placeholders),
        )


def read_head(stream: TarStream, prefix: bytes) -> Head:
    """Read up to the placeholders; raise UnpackError when `prefix` does not fit into them.

    Raises UnpackError and VerificationError for what is no archive, or a damaged or harmful one.
    """
    manifest = read_unlisted(stream, MANIFEST)
    listing = read_unlisted(stream, LISTING)
    batches = checked_batches(listing)
    first, others = next(batches, Lines((), (), (), ())).cut(len(_FIRST))
    if tuple(first.paths) != _FIRST:
        raise UnpackError(f"the archive's listing does not begin with {', '.join(_FIRST)}")
    for member in first.members():
        require_header(stream, member)
    content = bytes(stream.take(member.size))
    stream.take(padding(member.size))
    if sha256_bytes(content) != member.value:
        raise VerificationError(f"{PLACEHOLDERS} is damaged: its sha256 is not the listing's")
    return Head(
        manifest=manifest,
        listing=listing,
        placeholders=content,
        mending=read_mending(content, prefix),
        first=first,
        batches=itertools.chain([others], batches),
    )
