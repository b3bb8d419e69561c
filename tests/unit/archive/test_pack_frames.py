from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import tarfile
import threading
import time
from typing import TYPE_CHECKING

from reespack.archive.frames import ZstdCodec, decompressed, find_frames
from reespack.archive.header import END
from reespack.pack.collect import collect
from reespack.pack.compressing import Compression
from reespack.pack.earlier import EarlierFrames, frames_document, read_frames
from reespack.unpack import unpack, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import pytest

    from reespack.pack import Contents
    from reespack.pack.block import Part
    from reespack.pack.collect import Collection
    from reespack.pack.conda_meta import Installed
    from reespack.products import Archive, Bytecode, Prefix

    Pack = Callable[..., Archive]
    Compiled = Callable[[Sequence[str]], Sequence[Bytecode]]


def test_the_environment_may_go_as_soon_as_it_is_described(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {name: random.Random(name).randbytes(5 << 20) for name in "abcd"}  # noqa: S311
    for name, content in contents.items():
        (prefix.path / f"lib/{name}.bin").write_bytes(content)
    compress = ZstdCodec.compress

    def slow(self: ZstdCodec, block: bytes, *, binary: bool = False) -> bytes:
        time.sleep(0.05)  # so that blocks wait when the last one has been read
        return compress(self, block, binary=binary)

    def describe(contents: Contents) -> bytes:
        shutil.rmtree(prefix.path)
        return json.dumps({"contents": {"tree_digest": contents.tree_digest}}).encode()

    monkeypatch.setattr(ZstdCodec, "compress", slow)
    archive = pack_it(prefix, tmp_path / "a.tar.zst", threads=1, describe=describe)
    assert verify(archive.path).ok
    target = unpack(archive.path, tmp_path / "x", threads=1).path
    for name, content in contents.items():
        assert (target / f"lib/{name}.bin").read_bytes() == content


def test_large_files_that_are_begun_with_change_nothing(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = random.Random(3).randbytes(17 << 20)  # noqa: S311 - no secret
    root = os.fsencode(prefix.path)
    files = {
        "lib/plain.bin": noise,
        "lib/holds-the-prefix.txt": b"%b/lib\n" % root + b"x" * (5 << 20),
        "lib/short.bin": b"short",
    }
    for path, content in files.items():
        (prefix.path / path).write_bytes(content)
    (prefix.path / "lib/link.bin").symlink_to("plain.bin")
    record = prefix.path / "conda-meta/demo-1.0-0.json"
    document = json.loads(record.read_bytes())
    for path in (*files, "lib/link.bin", "lib/gone.bin"):
        entry = {"_path": path, "path_type": "hardlink", "size_in_bytes": 9 << 20}
        document["paths_data"]["paths"].append({**entry, "sha256": "0" * 64})
    record.write_text(json.dumps(document))
    begun: list[Part] = []
    begin = Compression.begin
    done = threading.Event()

    def noted(self: Compression[object], parts: Iterable[Part]) -> None:
        begun.extend(kept := list(parts))
        begin(self, kept)
        done.set()

    def late_collect(prefix: Prefix, installed: Installed, compiled: Compiled) -> Collection:
        assert done.wait(60)  # by nobody who knows what is there
        return collect(prefix, installed, compiled)

    monkeypatch.setattr(Compression, "begin", noted)
    monkeypatch.setattr("reespack.pack.collect", late_collect)
    early = pack_it(prefix, tmp_path / "early.tar.zst", earlier=EarlierFrames())
    assert len(begun) == 2  # 17 MiB, of the one file that can be begun with
    done.set()
    monkeypatch.setattr(Compression, "begin", lambda _self, _parts: None)
    late = pack_it(prefix, tmp_path / "late.tar.zst", earlier=EarlierFrames())
    assert early.path.read_bytes() == late.path.read_bytes()
    assert early.frames == late.frames
    target = unpack(early.path, tmp_path / "x", threads=2).path
    assert (target / "lib/plain.bin").read_bytes() == noise
    assert (target / "lib/link.bin").readlink().name == "plain.bin"
    assert (target / "lib/holds-the-prefix.txt").read_bytes().startswith(os.fsencode(target))


def test_a_frame_ends_behind_files_that_are_alike(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, add_to_package: Callable[..., None]
) -> None:
    alike = random.Random(5).randbytes(3 << 20)  # noqa: S311 - no secret
    for name in "abcde":  # one of them fills the first frame, and four are the most for any
        add_to_package(prefix, f"lib/{name}/alike.x", alike)
    archive = pack_it(prefix, tmp_path / "a.tar.zst").path
    with archive.open("rb") as file:
        frames = [decompressed(file.fileno(), one) for one in find_frames(archive, "zst")[2:-1]]
    members = []
    for frame in frames:
        with tarfile.open(fileobj=io.BytesIO(frame + END)) as tar:
            members.append([name for name in tar.getnames() if name.endswith("alike.x")])
    assert [names for names in members if names] == [
        [f"lib/{name}/alike.x" for name in "abcd"],
        ["lib/e/alike.x"],
    ]
    target = unpack(archive, tmp_path / "x", threads=2).path
    assert all((target / f"lib/{name}/alike.x").read_bytes() == alike for name in "abcde")


def test_earlier_frames_are_taken_over_and_change_nothing(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = random.Random(1).randbytes(9 << 20)  # noqa: S311 - no secret
    (prefix.path / "lib/large.bin").write_bytes(noise)
    first = pack_it(prefix, tmp_path / "first.tar.zst", earlier=EarlierFrames())
    content = first.path.read_bytes()
    for frame in first.frames:
        piece = content[frame.offset : frame.offset + frame.length]
        assert hashlib.sha256(piece).hexdigest() == frame.sha256
    earlier = EarlierFrames()
    earlier.add(first.path, read_frames(_kept(tmp_path, first)))
    (prefix.path / "etc/zzz.txt").write_text("new")
    plain = pack_it(prefix, tmp_path / "plain.tar.zst", earlier=EarlierFrames())
    asked: list[bool] = []
    find = EarlierFrames.find

    def noted(self: EarlierFrames, key: str) -> bytes | None:
        found = find(self, key)
        asked.append(found is not None)
        return found

    monkeypatch.setattr(EarlierFrames, "find", noted)
    again = pack_it(prefix, tmp_path / "again.tar.zst", earlier=earlier)
    assert asked.count(True) >= 2
    assert asked.count(False) >= 1
    assert again.path.read_bytes() == plain.path.read_bytes()
    assert again.frames == plain.frames
    # Another time stands in every header, so nothing of it can be taken over.
    asked.clear()
    pack_it(prefix, tmp_path / "later.tar.zst", earlier=earlier, mtime=1_700_000_000)
    assert not any(asked)


def test_an_earlier_archive_that_was_altered_or_removed_is_no_harm(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    first = pack_it(prefix, tmp_path / "first.tar.zst", earlier=EarlierFrames())
    content = first.path.read_bytes()
    earlier = EarlierFrames()
    earlier.add(first.path, first.frames)
    assert earlier.find(first.frames[0].key)
    first.path.write_bytes(bytes(len(content)))
    assert earlier.find(first.frames[0].key) is None
    assert pack_it(prefix, tmp_path / "2.tar.zst", earlier=earlier).path.read_bytes() == content
    first.path.unlink()
    assert earlier.find(first.frames[0].key) is None
    assert pack_it(prefix, tmp_path / "3.tar.zst", earlier=earlier).path.read_bytes() == content


def test_what_is_no_list_of_frames_is_an_empty_one(tmp_path: Path) -> None:
    assert read_frames(tmp_path / "gone.json") == ()
    for text in ("", "[]", "{}", '{"format": 2, "frames": []}', '{"format": 1, "frames": [[1]]}'):
        (tmp_path / "bad.json").write_text(text)
        assert read_frames(tmp_path / "bad.json") == ()


def _kept(folder: Path, archive: Archive) -> Path:
    path = folder / "frames.json"
    path.write_bytes(frames_document(archive.frames))
    return path
