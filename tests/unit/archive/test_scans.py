"""Large files are looked through ahead, and what is known of them does not depend on by whom."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from reespack.archive.listing import Member
from reespack.pack.collect import Source
from reespack.pack.prefixes import BuildPrefix, PlaceholderTable
from reespack.pack.scans import Scans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 1 << 20


@pytest.fixture
def build_prefix(tmp_path: Path) -> BuildPrefix:
    return BuildPrefix(tmp_path / "env", PlaceholderTable())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def source(file: Path, content: bytes | None = None) -> Source:
    if content is not None:
        file.write_bytes(content)
    return Source(file.name, "file", str(file))


@pytest.mark.parametrize("ahead", [False, True])
def test_the_prefix_is_found_wherever_it_stands(
    ahead: bool, tmp_path: Path, build_prefix: BuildPrefix, pool: ThreadPoolExecutor
) -> None:
    scans = Scans(build_prefix, pool.submit if ahead else None)
    (needle,) = build_prefix.needles
    for place in (0, 7, CHUNK - len(needle) // 2, 2 * CHUNK - 1, 3 * CHUNK - len(needle)):
        content = bytes(place) + needle + bytes(3 * CHUNK - len(needle) - place)
        scans.begin(source(tmp_path / str(place), content))
        assert scans.member(source(tmp_path / str(place))) is None
    clean = bytes(range(256)) * (3 << 12)
    scans.begin(source(tmp_path / "clean", clean))
    digest = hashlib.sha256(clean).hexdigest()
    assert scans.member(source(tmp_path / "clean")) == Member("clean", "0644", len(clean), digest)


def test_what_nobody_has_begun_to_read_is_read_by_who_asks(
    tmp_path: Path, build_prefix: BuildPrefix
) -> None:
    waiting: list[Future[Member | None]] = []

    def submit(_: Callable[[], Member | None]) -> Future[Member | None]:
        future: Future[Member | None] = Future()
        waiting.append(future)
        return future

    scans = Scans(build_prefix, submit)
    file = source(tmp_path / "file", b"some")
    scans.begin(file)
    scans.begin(file)
    assert len(waiting) == 1
    member = scans.member(file)
    assert member is not None
    assert waiting[0].cancelled()
    (tmp_path / "file").write_bytes(b"other")
    assert scans.member(file) is member  # it is read once


def test_what_cannot_be_read_is_said_to_who_asks(
    tmp_path: Path, build_prefix: BuildPrefix, pool: ThreadPoolExecutor
) -> None:
    scans = Scans(build_prefix, pool.submit)
    seen: list[Member | None] = []
    gone, link = source(tmp_path / "gone"), source(tmp_path / "link")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for one in (gone, link, source(tmp_path / "file", b"some")):
        scans.begin(one, seen.append)
    pool.shutdown()
    assert [one and one.path for one in sorted(seen, key=bool)] == [None, None, "file"]
    for one in (gone, link):
        with pytest.raises(OSError, match=one.path):
            scans.member(one)
