from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from reespack.archive.frames import GzipCodec, ZstdCodec, find_frames, plain
from reespack.errors import VerificationError
from reespack.pack.headed import HeadedFile
from reespack.unpack import read_manifest, unpack, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reespack.pack import Contents
    from reespack.products import Archive, Prefix

    Pack = Callable[..., Archive]
    Make = Callable[[Path], Prefix]


BODY = [os.urandom(3 << 20), b"", b"x"]


@pytest.mark.parametrize("room", [0, 1, 20, 30, 37, 38, 39, 45, 46, 47, 500, 5 << 20])
def test_a_head_of_any_size_comes_first(room: int) -> None:
    first = [(b"manifest", 1), (b"l" * 30, 2)]
    file = io.BytesIO()
    headed = HeadedFile(file, room)
    headed.append(BODY[0], 0)
    others = [(BODY[2], 2), (BODY[1], 1)]

    def append_next() -> None:
        if others:
            headed.append(*others.pop())

    headed.put_head(first, ZstdCodec().gap, append_next)
    assert not others
    headed.append(b"late", 7)
    headed.end(b"index")
    sha256, size = headed.finish()
    written = file.getvalue()
    assert hashlib.sha256(written).hexdigest() == sha256
    assert len(written) == size
    head = b"manifest" + b"l" * 30
    gap = room - 38 if room >= 46 else 0
    filler = b"\x50\x2a\x4d\x18" + (gap - 8).to_bytes(4, "little") + bytes(gap - 8) if gap else b""
    assert written == head + filler + b"".join(BODY) + b"lateindex"
    gaps = [(gap, 0)] if gap else []
    assert headed.sizes[: 2 + len(gaps)] == [(8, 1), (30, 2), *gaps]
    assert [plain for _, plain in headed.sizes[2 + len(gaps) :]] == [0, 1, 2, 7]
    assert sum(length for length, _ in headed.sizes) == size - len("index")


def test_gzip_has_no_gaps() -> None:
    assert GzipCodec().gap(0) == b""
    assert GzipCodec().gap(100) is None


def test_other_readers_pass_over_the_gap(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    archive = pack_it(prefix, tmp_path / "a.tar.zst").path
    frames = find_frames(archive, "zst")
    with archive.open("rb") as file:
        head = file.read(frames[2].offset)
    assert frames[2].offset > frames[1].offset + frames[1].length
    assert head.endswith(bytes(1000))  # the gap
    indexed = b"".join(plain(archive, "zst"))
    assert len(indexed) == sum(frame.size for frame in frames)
    by_zstd = subprocess.run(["zstd", "-dc", archive], capture_output=True, check=True).stdout
    assert by_zstd == indexed
    cut = tmp_path / "cut.tar.zst"
    cut.write_bytes(archive.read_bytes()[: frames[-1].offset + frames[-1].length])
    assert find_frames(cut, "zst") == ()
    assert verify(cut).ok


def test_what_is_hidden_in_the_gap_is_found(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    archive = pack_it(prefix, tmp_path / "a.tar.zst").path
    whole = bytearray(archive.read_bytes())
    whole[find_frames(archive, "zst")[2].offset - 1] ^= 1
    archive.write_bytes(whole)
    for read in (verify, lambda archive: unpack(archive, tmp_path / "x", threads=1)):
        with pytest.raises(VerificationError, match="something in a gap"):
            read(archive)


def test_a_manifest_too_large_for_its_room(tmp_path: Path, make: Make, pack_it: Pack) -> None:
    noise = hashlib.shake_256(b"noise").hexdigest(1 << 20)

    def describe(contents: Contents) -> bytes:
        return json.dumps({"contents": {"tree_digest": contents.tree_digest}, "x": noise}).encode()

    first = pack_it(make(tmp_path / "a/env"), tmp_path / "a.tar.zst", describe=describe, threads=1)
    second = pack_it(make(tmp_path / "b/longer"), tmp_path / "b.tar.zst", describe=describe)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert len(find_frames(first.path, "zst")) > 3
    assert json.loads(read_manifest(first.path))["x"] == noise
    assert verify(first.path).ok
    assert unpack(first.path, tmp_path / "x", threads=2).files == first.files
