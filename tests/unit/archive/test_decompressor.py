"""Frames decompressed into memory that is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reespack.archive.decompressor import Decompressor
from reespack.archive.frames import Frame, GzipCodec, ZstdCodec, decompressed
from reespack.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PLAIN = [os.urandom(70_000) + bytes(5_000_000), b"a line\n" * 9, os.urandom(3_000_000)]


@pytest.fixture(params=["zst", "gz"])
def frames(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, list[Frame]]]:
    """A file of frames, open, and where they lie."""
    codec = ZstdCodec() if request.param == "zst" else GzipCodec()
    found, content = [], b""
    for plain in _PLAIN:
        packed = codec.compress(plain)
        found.append(Frame(len(content), len(packed), request.param, len(plain)))
        content += packed
    (tmp_path / "frames").write_bytes(content)
    handle = os.open(tmp_path / "frames", os.O_RDONLY)
    yield handle, found
    os.close(handle)


def test_the_same_bytes_as_one_by_one(frames: tuple[int, list[Frame]]) -> None:
    handle, found = frames
    decompressor = Decompressor()
    for frame, plain in zip((*found, *found), (*_PLAIN, *_PLAIN), strict=True):
        assert decompressor.decompressed(handle, frame) == plain == decompressed(handle, frame)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_size_that_is_not_the_frames_is_told(frames: tuple[int, list[Frame]], wrong: int) -> None:
    handle, found = frames
    decompressor = Decompressor()
    for frame in found:
        with pytest.raises(VerificationError, match=f"damaged near byte {frame.offset}"):
            decompressor.decompressed(handle, frame._replace(size=frame.size + wrong))
    assert decompressor.decompressed(handle, found[0]) == _PLAIN[0]


def test_a_frame_that_ends_too_early_is_told(frames: tuple[int, list[Frame]]) -> None:
    handle, found = frames
    decompressor = Decompressor()
    for frame in found:
        with pytest.raises(VerificationError, match=f"damaged near byte {frame.offset}"):
            decompressor.decompressed(handle, frame._replace(length=frame.length - 9))
    with pytest.raises(VerificationError, match="truncated"):
        decompressor.decompressed(handle, found[-1]._replace(length=found[-1].length + 1))


def test_a_frame_that_is_too_large_is_not_read(frames: tuple[int, list[Frame]]) -> None:
    handle, found = frames
    if found[0].form == "zst":
        with pytest.raises(VerificationError, match="larger than any should be"):
            Decompressor().decompressed(handle, found[0]._replace(size=1 << 40))
