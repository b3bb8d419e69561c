from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from reespack.archive import frames
from reespack.archive.frames import ZstdCodec, find_frames, form_of, plain
from reespack.archive.header import END
from reespack.cli import main
from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_bytes, sha256_file
from reespack.pack import blocks
from reespack.unpack import processes, read_manifest, unpack, verify, whole, worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reespack.products import Archive, Prefix

    Pack = Callable[..., Archive]
    Tree = Callable[[Path], dict[str, Any]]


SQUASHFS = pytest.mark.skipif(not shutil.which("mksquashfs"), reason="mksquashfs is not installed")

# There are forks below whatever threads the tests have, and Python 3.12 says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture
def archive(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> Path:
    (prefix.path / "lib/noise").write_bytes(os.urandom(300_000))
    return pack_it(prefix, tmp_path / "a.tar.zst").path


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
@pytest.mark.parametrize("length", [3, 150])
def test_the_same_as_tar_and_conda_unpack(  # noqa: PLR0913, PLR0917 - fixtures
    tmp_path: Path, prefix: Prefix, pack_it: Pack, tree: Tree, form: str, length: int
) -> None:
    archive = pack_it(prefix, tmp_path / f"a.{form}", format=form).path
    place = tmp_path / ("x" * length)
    unpack(archive, place, threads=3)
    mine = tree(place)
    place.rename(tmp_path / "aside")
    place.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", place], check=True)
    subprocess.run([place / "bin/conda-unpack"], check=True, env={}, cwd="/")
    assert tree(place) == mine


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz", pytest.param("squashfs", marks=SQUASHFS)])
def test_what_is_unpacked_is_new(tmp_path: Path, prefix: Prefix, pack_it: Pack, form: str) -> None:
    archive = pack_it(prefix, tmp_path / f"a.{form}", format=form, mtime=1_000_000_000).path
    before = time.time() - 1  # a file system's clock may be a little behind
    unpack(archive, tmp_path / "env", threads=2)
    paths = list((tmp_path / "env").rglob("*"))
    assert any(path.is_symlink() for path in paths)
    assert any(path.is_dir() and not any(path.iterdir()) for path in paths)
    for path in paths:
        status = path.lstat()
        assert min(status.st_mtime, status.st_atime) >= before, path


@pytest.fixture
def many_frames(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An archive of small frames, which several processes unpack however small it is."""
    monkeypatch.setattr(blocks, "FRAME_SIZE", 4096)
    monkeypatch.setattr(blocks, "LARGE", 2048)
    for name in ("_SMALLEST", "_BYTES", "_FILES"):
        monkeypatch.setattr(processes, name, 1)
    monkeypatch.setattr(frames, "_CHUNK", 1 << 10)  # so that no more than the head is read for it
    for number in range(100):
        (prefix.path / f"lib/file{number}").write_text(f"{prefix.path}\n" * number)
    return pack_it(prefix, tmp_path / "many.tar.zst").path


@pytest.fixture(params=["forks", "new"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the processes are, whatever threads there are in this one."""
    kind: str = request.param
    for module in (worker, whole):
        monkeypatch.setattr(module, "alone", lambda: kind == "forks")
    return kind


@pytest.mark.usefixtures("kind")
def test_the_same_from_several_processes(tmp_path: Path, many_frames: Path, tree: Tree) -> None:
    place = tmp_path / "x"
    unpack(many_frames, place, threads=1)
    alone = tree(place)
    place.rename(tmp_path / "aside")
    unpack(many_frames, place, threads=3)
    assert tree(place) == alone
    assert len(find_frames(many_frames, "zst")) > 20


@pytest.mark.usefixtures("kind")
def test_damage_that_another_process_finds_is_told_here(tmp_path: Path, many_frames: Path) -> None:
    frame = find_frames(many_frames, "zst")[15]
    whole = bytearray(many_frames.read_bytes())
    whole[frame.offset + frame.length // 2] ^= 1
    many_frames.write_bytes(whole)
    with pytest.raises(VerificationError, match=r"lib/file|damaged near byte"):
        unpack(many_frames, tmp_path / "x", threads=3)
    assert not (tmp_path / "x").exists()


def test_frames_need_no_sums_of_their_own_where_others_are_taken(
    tmp_path: Path, many_frames: Path, tree: Tree
) -> None:
    good = sha256_file(many_frames)
    place = tmp_path / "x"
    unpack(many_frames, place, threads=3)
    before = tree(place)
    place.rename(tmp_path / "before")
    whole = bytearray(many_frames.read_bytes())
    for frame in find_frames(many_frames, "zst")[-50:]:
        whole[frame.offset + frame.length - 1] ^= 1  # in its checksum
    many_frames.write_bytes(whole)
    assert not verify(many_frames).ok
    with pytest.raises(VerificationError, match="files beside it describe"):
        unpack(many_frames, place, threads=3, sha256=good)
    unpack(many_frames, place, threads=3)  # each file has the sum that it should have
    assert tree(place) == before


@pytest.mark.usefixtures("kind")
def test_a_process_that_dies_ends_in_an_error(
    tmp_path: Path, many_frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[worker.Worker] = []

    def start_and_kill(others: list[worker.Worker]) -> worker.Worker:
        started.append(worker.start(others))
        os.kill(started[-1].pid or 0, signal.SIGKILL)
        return started[-1]

    monkeypatch.setattr(processes, "start", start_and_kill)
    with pytest.raises(UnpackError, match="ended too early"):
        unpack(many_frames, tmp_path / "x", threads=3)
    assert len(started) == 3
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("kind")
def test_an_archive_that_has_another_sum_is_not_unpacked(tmp_path: Path, many_frames: Path) -> None:
    for threads in (1, 3):
        with pytest.raises(VerificationError, match="files beside it describe"):
            unpack(many_frames, tmp_path / "x", threads=threads, sha256="0" * 64)
        assert not (tmp_path / "x").exists()
    unpack(many_frames, tmp_path / "x", threads=3, sha256=sha256_file(many_frames))


def test_the_same_where_the_sum_is_known(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, tree: Tree
) -> None:
    (prefix.path / "lib" / ("l" * 120)).write_text("a name that has a member of its own")
    (prefix.path / "lib" / ("\xe9" * 60)).write_text("a name of fewer letters than bytes")
    archive = pack_it(prefix, tmp_path / "a.tar.zst").path
    place = tmp_path / "x"
    unpack(archive, place, threads=1)
    checked = tree(place)
    place.rename(tmp_path / "aside")
    unpack(archive, place, threads=1, sha256=sha256_file(archive))
    assert tree(place) == checked


def test_the_command_believes_what_lies_beside(tmp_path: Path, archive: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  {archive.name}\n")
    assert main(["unpack", str(archive), str(tmp_path / "x")]) == VerificationError.exit_code
    assert not (tmp_path / "x").exists()
    sums.write_text(f"{sha256_file(archive)}  {archive.name}\n")
    assert main(["unpack", str(archive), str(tmp_path / "x")]) == 0


def test_files_are_mended_for_their_place(tmp_path: Path, archive: Path) -> None:
    root = unpack(archive, tmp_path / "x", threads=2).path
    assert (root / "etc/demo.conf").read_text() == f"a={root}\nb={root}/b:{root}/c\n"
    place = os.fsencode(root)
    library = (root / "lib/libdemo.so").read_bytes()
    assert library.startswith(b"\x7fELF\0\1" + place + b"/lib\0\0")
    assert b"x" + place + b"/a:" + place + b"/b\0" in library
    assert library.endswith(b"\0\0\0tail\0\xff")
    assert (root / "share/reespack/prefix").read_bytes() == place + b"\n"


@pytest.mark.parametrize("name", ["short", "with a blank", "l" * 140, "quote'and$dollar"])
def test_scripts_run_wherever_they_are(tmp_path: Path, archive: Path, name: str) -> None:
    root = unpack(archive, tmp_path / name, threads=2).path

    def run(script: str, *arguments: str) -> str:
        done = subprocess.run(
            [root / "bin" / script, *arguments],
            env={},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert run("demo", "a b", "c") == f"{[f'{root}/bin/demo', 'a b', 'c']}\n"
    assert run("optioned") == "optioned\n"
    assert run("pipped") == "pipped\n"


def test_an_archive_that_another_program_compressed_again(
    tmp_path: Path, archive: Path, tree: Tree
) -> None:
    again = tmp_path / "again.tar.zst"
    plain = tmp_path / "plain.tar"
    subprocess.run(["zstd", "-dq", archive, "-o", plain], check=True)
    subprocess.run(["zstd", "-q1", plain, "-o", again], check=True)
    assert find_frames(again, "zst") == ()
    assert verify(again).ok
    place = tmp_path / "x"
    unpack(again, place, threads=2)
    seen = tree(place)
    place.rename(tmp_path / "y")
    unpack(archive, place, threads=2)
    assert tree(place) == seen


def test_a_target_with_something_in_it_is_refused(tmp_path: Path, archive: Path) -> None:
    target = tmp_path / "x"
    target.mkdir()
    (target / "mine").write_text("keep")
    with pytest.raises(UnpackError, match="not empty"):
        unpack(archive, target, threads=2)
    assert [path.name for path in target.iterdir()] == ["mine"]
    with pytest.raises(UnpackError, match="no folder"):
        unpack(archive, target / "mine", threads=2)


def test_an_empty_target_is_taken(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "x").mkdir()
    assert (unpack(archive, tmp_path / "x", threads=2).path / "bin/demo").exists()


def test_a_path_that_a_binary_has_no_room_for_is_refused(tmp_path: Path, archive: Path) -> None:
    far = tmp_path / ("d" * 200) / ("e" * 100)
    with pytest.raises(UnpackError, match=r"too long for lib/libdemo\.so"):
        unpack(archive, far, threads=2)
    assert not far.exists()


def found_wanting(archive: Path) -> bool:
    """Say whether `verify` reports or raises, in one line."""
    try:
        return not verify(archive).ok
    except UnpackError as error:
        return "\n" not in error.message


def means_the_same(archive: Path, kind: str, content: bytes) -> bool:
    """Say whether a file still unpacks to `content`, its magic number intact."""
    try:
        return form_of(archive) == kind and b"".join(plain(archive, kind)) == content
    except UnpackError:
        return False


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_a_flipped_byte_is_found_wherever_it_is(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, form: str
) -> None:
    archive = pack_it(prefix, tmp_path / f"a.{form}", format=form).path
    whole = archive.read_bytes()
    kind = form.removeprefix("tar.")
    frames = find_frames(archive, kind)
    end = frames[-1].offset + frames[-1].length
    content = b"".join(plain(archive, kind))
    for position in range(0, end, end // 29):
        broken = bytearray(whole)
        broken[position] ^= 0x10
        archive.write_bytes(broken)
        if means_the_same(archive, kind, content):  # as in a header's time, or an unused bit
            continue
        assert found_wanting(archive), f"byte {position} is missed"
        with pytest.raises(UnpackError):
            unpack(archive, tmp_path / "x", threads=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{form}", "build"]


def test_damaged_files_are_named_and_no_others(archive: Path) -> None:
    frames = find_frames(archive, "zst")
    body = frames[2]
    whole = bytearray(archive.read_bytes())
    whole[body.offset + body.length // 2] ^= 1
    archive.write_bytes(whole)
    report = verify(archive)
    assert not report.ok
    named = {damage.path for damage in report.damaged}
    assert "lib/noise" in named
    assert "share/reespack/placeholders.json" not in named


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_truncation_is_found(tmp_path: Path, prefix: Prefix, pack_it: Pack, form: str) -> None:
    archive = pack_it(prefix, tmp_path / f"a.{form}", format=form).path
    whole = archive.read_bytes()
    for length in [0, 1, 100, len(whole) // 2, len(whole) - 200]:
        archive.write_bytes(whole[:length])
        with pytest.raises(UnpackError):
            unpack(archive, tmp_path / "x", threads=2)
        assert found_wanting(archive)
    assert not (tmp_path / "x").exists()


def test_the_manifest_beside_knows_the_archive(tmp_path: Path, archive: Path) -> None:
    beside = tmp_path / "a.manifest.json"
    manifest = json.loads(read_manifest(archive))
    manifest["archive"] = {"sha256": sha256_bytes(archive.read_bytes())}
    beside.write_text(json.dumps(manifest))
    assert verify(archive, beside).ok
    manifest["archive"]["sha256"] = "0" * 64
    beside.write_text(json.dumps(manifest))
    assert [damage.path for damage in verify(archive, beside).damaged] == [None]
    manifest["contents"]["tree_digest"] = "0" * 64
    beside.write_text(json.dumps(manifest))
    assert len(verify(archive, beside).damaged) == 2


def test_what_is_no_archive(tmp_path: Path, prefix: Prefix) -> None:
    text = tmp_path / "text"
    text.write_text("no archive")
    foreign = tmp_path / "foreign.tar.gz"
    subprocess.run(["tar", "-czf", foreign, "-C", prefix.path, "."], check=True)
    for path in (text, foreign, tmp_path / "missing", tmp_path):
        with pytest.raises(UnpackError):
            unpack(path, tmp_path / "x", threads=1)
        with pytest.raises(UnpackError):
            read_manifest(path)


def test_an_index_that_does_not_fit_the_listing_is_refused(
    tmp_path: Path, many_frames: Path
) -> None:
    frames = find_frames(many_frames, "zst")
    with many_frames.open("r+b") as file:
        file.seek(-9 - 8, 2)  # the last entry, before the footer
        entry = file.read(8)
        assert entry == struct.pack("<II", frames[-1].length, len(END))
        file.seek(-8, 1)
        file.write(struct.pack("<II", frames[-1].length, 1))
    with pytest.raises(VerificationError, match="does not fit its listing"):
        unpack(many_frames, tmp_path / "x", threads=3)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("size", [512, 1000, 5000])
def test_frames_that_another_program_cut(
    tmp_path: Path, many_frames: Path, tree: Tree, size: int
) -> None:
    tar = b"".join(plain(many_frames, "zst"))
    parts = [tar[place : place + size] for place in range(0, len(tar), size)]
    codec = ZstdCodec()
    frames = [codec.compress(part) for part in parts]
    sizes = [(len(frame), len(part)) for frame, part in zip(frames, parts, strict=True)]
    again = tmp_path / "again.tar.zst"
    again.write_bytes(b"".join(frames) + codec.index(sizes))
    assert len(find_frames(again, "zst")) == len(parts)
    place = tmp_path / "x"
    with pytest.raises(VerificationError, match="files beside it describe"):
        unpack(again, place, threads=3, sha256="0" * 64)
    unpack(again, place, threads=3)
    seen = tree(place)
    place.rename(tmp_path / "y")
    unpack(many_frames, place, threads=1)
    assert tree(place) == seen


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, many_frames: Path, umask: int) -> None:
    for threads in ("1", "3"):
        words = ["unpack", "-q", "--threads", threads, many_frames, tmp_path / threads]
        command = [sys.executable, "-m", "reespack", *words]
        subprocess.run(command, check=True, umask=umask, stdout=subprocess.DEVNULL)
        modes = {path.stat().st_mode & 0o777 for path in (tmp_path / threads / "lib").iterdir()}
        assert modes == {0o644, 0o755}
