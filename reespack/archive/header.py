"""Headers of tar members: GNU format, owner 0, one time, modes 0644 or 0755.

`tarfile` makes the same bytes and takes four times as long; it is asked only where a size needs
more than eleven octal digits.
"""

from __future__ import annotations

import functools
import os
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.archive.listing import Member

__all__ = ["BLOCK", "END", "header", "header_size", "member_sizes", "padding"]

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends a tar file."""

_NAME_LENGTH = 100
_MODES = {"0644": b"0000644\0", "0755": b"0000755\0", "dir": b"0000755\0"}
_LINK_MODE = b"0000777\0"
_TYPES = {"0644": b"0", "0755": b"0", "dir": b"5"}
_OWNER_IDS = b"0000000\0" * 2
_OWNER = b"ustar  \0" + b"root".ljust(32, b"\0") * 2 + bytes(183)
_NOBODY = b"ustar  \0" + bytes(64 + 183)
_OWNER_SUM, _NOBODY_SUM = (sum(_OWNER_IDS) + sum(end) + 8 * 0x20 for end in (_OWNER, _NOBODY))
"""The constant part of the checksum, in which the checksum itself counts as eight blanks."""

_LARGEST = 1 << 33
"""A size of 8 GiB does not fit into eleven octal digits."""


def padding(size: int) -> int:
    """Return how many zero bytes follow a member's content of `size` bytes."""
    return -size % BLOCK


def header_size(path: str) -> int:
    """Return how many bytes the header of a file of less than 8 GiB has, its long name included."""
    length = len(path) if path.isascii() else len(os.fsencode(path))
    return BLOCK if length <= _NAME_LENGTH else 2 * BLOCK + length + 1 + padding(length + 1)


def header(member: Member, mtime: int) -> bytes:
    """Return the header block of a member; several blocks when its name or target is long."""
    name = os.fsencode(member.path)
    if member.kind == "dir":
        name += b"/"
    if member.kind in _MODES and len(name) <= _NAME_LENGTH and member.size < _LARGEST:
        return _common(name, member.size, *_constants(member.kind, mtime))
    target = os.fsencode(member.value) if member.is_link else b""
    if member.size >= _LARGEST:
        return _large(member, mtime)
    block = _block(
        name,
        _MODES.get(member.kind, _LINK_MODE),
        b"%011o\0%011o\0" % (member.size, mtime),
        _TYPES.get(member.kind, b"2"),
        target,
        _OWNER,
    )
    if len(name) > _NAME_LENGTH:
        block = _long(name, b"L") + block
    if len(target) > _NAME_LENGTH:
        block = _long(target, b"K") + block
    return block


@functools.lru_cache
def _constants(kind: str, mtime: int) -> tuple[bytes, bytes, bytes, int]:
    """Return what is the same in all headers of a kind, and what it adds to their checksums."""
    before = _MODES[kind] + _OWNER_IDS
    between = b"%011o\0" % mtime
    after = b"\0 " + _TYPES[kind] + bytes(_NAME_LENGTH) + _OWNER
    changing = sum(before) + sum(between) + sum(_TYPES[kind])
    return before, between, after, _OWNER_SUM - sum(_OWNER_IDS) + changing


def _common(  # noqa: PLR0913, PLR0917 - a header's fields
    name: bytes, size: int, before: bytes, between: bytes, after: bytes, constant: int
) -> bytes:
    """Return the header of a file or folder whose name is not long: almost all are like this."""
    digits = b"%011o\0" % size
    # The lower half of an adler32 (RFC 1950) is one more than the sum of so few bytes, which sum()
    # takes ten times as long for.
    checksum = constant + (zlib.adler32(name + digits) & 0xFFFF) - 1
    return b"%b%b%b%b%06o%b" % (
        name.ljust(_NAME_LENGTH, b"\0"), before, digits, between, checksum, after
    )  # fmt: skip


def member_sizes(members: Iterable[tuple[str, str, int, str]]) -> list[int]:
    """Return how many bytes each member takes in a tar file: header, content and padding.

    What is given are `Member`s, or the fields of such.
    """
    return [
        (size + 2 * BLOCK - 1) // BLOCK * BLOCK  # most have neither a long name nor a target
        if kind in _MODES and len(path) < _NAME_LENGTH and path.isascii()
        else _member_size(path, kind, size, value)
        for path, kind, size, value in members
    ]


def _member_size(path: str, kind: str, size: int, value: str) -> int:
    name = len(os.fsencode(path)) + (kind == "dir")
    target = 0 if kind in _MODES else len(os.fsencode(value))
    longs = [length + 1 for length in (name, target) if length > _NAME_LENGTH]
    extra = sum(BLOCK + length + padding(length) for length in longs)
    return BLOCK + extra + size + padding(size)


def _block(  # noqa: PLR0913, PLR0917 - a header's fields
    name: bytes, mode: bytes, size_and_time: bytes, kind: bytes, target: bytes, owner: bytes
) -> bytes:
    name, target = name[:_NAME_LENGTH], target[:_NAME_LENGTH]
    changing = b"%b%b%b%b%b" % (name, mode, size_and_time, kind, target)
    constant = _OWNER_SUM if owner is _OWNER else _NOBODY_SUM
    return b"%b%b%b%b%06o\0 %b%b%b" % (
        name.ljust(_NAME_LENGTH, b"\0"),
        mode,
        _OWNER_IDS,
        size_and_time,
        sum(changing) + constant,
        kind,
        target.ljust(_NAME_LENGTH, b"\0"),
        owner,
    )


def _long(text: bytes, kind: bytes) -> bytes:
    """Return GNU's member that holds the next one's long name (L) or target (K)."""
    size = len(text) + 1
    fields = b"%011o\0%011o\0" % (size, 0)
    block = _block(b"././@LongLink", b"0000000\0", fields, kind, b"", _NOBODY)
    return block + text + bytes(1 + padding(size))


def _large(member: Member, mtime: int) -> bytes:
    import tarfile

    info = tarfile.TarInfo(member.path)
    info.mode = int(_MODES[member.kind][:7], 8)
    info.size, info.mtime = member.size, mtime
    info.uname = info.gname = "root"
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
