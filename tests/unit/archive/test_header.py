from __future__ import annotations

import tarfile

import pytest

from reespack.archive.header import BLOCK, header, member_sizes, padding
from reespack.archive.listing import Member


def by_tarfile(member: Member) -> bytes:
    info = tarfile.TarInfo(member.path)
    info.type = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}.get(member.kind, tarfile.REGTYPE)
    info.mode = {"0644": 0o644, "0755": 0o755, "dir": 0o755, "link": 0o777}[member.kind]
    info.size, info.mtime = member.size, 1_700_000_000
    info.uname = info.gname = "root"
    if member.is_link:
        info.linkname = member.value
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


@pytest.mark.parametrize("length", [1, 99, 100, 101, 255, 300, 511, 512, 600])
@pytest.mark.parametrize("kind", ["0644", "0755", "dir", "link"])
@pytest.mark.parametrize("letter", ["e", "é"])
def test_headers_are_those_of_tarfile(length: int, kind: str, letter: str) -> None:
    size = 7 if kind.startswith("0") else 0
    member = Member(letter + "n" * (length - 1), kind, size, "t" * length)
    assert header(member, 1_700_000_000) == by_tarfile(member)
    assert member_sizes([member]) == [len(by_tarfile(member)) + (512 if size else 0)]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1 << 33])
def test_content_is_padded(size: int) -> None:
    whole = BLOCK + size + len(bytes(padding(size)))
    assert member_sizes([Member(name, "0644", size, "-") for name in ("short", "é")]) == [whole] * 2


@pytest.mark.parametrize("size", [0, 1, 8 << 30, (8 << 30) - 1, 1 << 40])
def test_any_size_fits(size: int) -> None:
    member = Member("large", "0644", size, "-")
    assert header(member, 1_700_000_000) == by_tarfile(member)


def test_a_name_that_is_no_utf8_stays_as_it_is() -> None:
    member = Member("caf\udce9", "0644", 0, "-")
    assert header(member, 0).startswith(b"caf\xe9\0")
