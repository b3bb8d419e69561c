"""The beginning of an archive, which says all that must be known before anything is written."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reespack.archive import MANIFEST
from reespack.archive.conda_unpack import PLACEHOLDERS
from reespack.archive.header import padding
from reespack.archive.listing import Member
from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_bytes
from reespack.unpack.extract import Mending, read_mending
from reespack.unpack.stream import TarStream, blocks, read_listing, read_unlisted, require_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PLACEHOLDERS_MEMBER", "Head", "open_stream", "read_head"]

PLACEHOLDERS_MEMBER = Member(PLACEHOLDERS, "0644", 0, "-")
_FIRST = ("share", "share/reespack", PLACEHOLDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The manifest and the listing as they are, what they say, and where prefixes belong."""

    manifest: bytes
    listing: bytes
    members: tuple[Member, ...]
    placeholders: bytes
    mending: Mending

    @property
    def body(self) -> tuple[Member, ...]:
        """The members that have not been read with the head."""
        return self.members[len(_FIRST) :]


@contextlib.contextmanager
def open_stream(archive: Path) -> Iterator[TarStream]:
    """Yield an archive's plain bytes; the next frame is decompressed while one is used."""
    with ThreadPoolExecutor(1) as pool:
        pieces = blocks(archive, pool, 1)
        try:
            yield TarStream(pieces)
        finally:
            pieces.close()


def read_head(stream: TarStream, prefix: bytes) -> Head:
    """Read up to the placeholders; raise UnpackError when `prefix` does not fit into them."""
    manifest = read_unlisted(stream, MANIFEST)
    listing, members = read_listing(stream)
    if tuple(member.path for member in members[: len(_FIRST)]) != _FIRST:
        raise UnpackError(f"the archive's listing does not begin with {', '.join(_FIRST)}")
    for member in members[: len(_FIRST)]:
        require_header(stream, member)
    member = members[len(_FIRST) - 1]
    content = bytes(stream.take(member.size))
    stream.take(padding(member.size))
    if sha256_bytes(content) != member.value:
        raise VerificationError(f"{PLACEHOLDERS} is damaged: its sha256 is not the listing's")
    return Head(
        manifest=manifest,
        listing=listing,
        members=members,
        placeholders=content,
        mending=read_mending(content, prefix),
    )
