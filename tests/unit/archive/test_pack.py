from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reespack.errors import LeftoverPrefixError, PackError
from reespack.products import FileChange
from reespack.unpack import read_manifest, unpack, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reespack.products import Archive, Prefix

    Pack = Callable[..., Archive]
    AddToPackage = Callable[[Prefix, str, bytes], None]
    Make = Callable[[Path], Prefix]

_CHANGE = FileChange(path="lib/cache.pkl", change="added", by="postBuild")
LONG = "/opt" + "_placehold" * 25


def untar(archive: Path, target: Path) -> Path:
    target.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
    return target


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_the_same_bytes_from_any_folder_umask_clock_and_threads(
    tmp_path: Path, make: Make, pack_it: Pack, form: str
) -> None:
    first = pack_it(make(tmp_path / "a/env"), tmp_path / f"a.{form}", format=form, threads=1)
    umask = os.umask(0o077)
    try:
        prefix = make(tmp_path / "b/a-much-longer-name-of-a-folder" / ("l" * 60) / "environment")
    finally:
        os.umask(umask)
    for file in prefix.path.rglob("*.conf"):
        os.utime(file, (time.time() - 1000, 0))
    second = pack_it(prefix, tmp_path / f"b.{form}", format=form, threads=5)
    assert first.sha256 == second.sha256
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.tree_digest == second.tree_digest


def test_scripts_that_a_long_build_folder_starts_through_sh_come_out_the_same(
    tmp_path: Path, make: Make, pack_it: Pack
) -> None:
    plain, long = make(tmp_path / "a/env"), make(tmp_path / "b/env")
    root = str(long.path)
    rest = "\nprint('pipped')\n"
    (long.path / "bin/demo").write_text(
        f"#!/bin/sh\n'''exec' \"{root}/bin/python3\" \"$0\" \"$@\" #'''"
        "\nimport sys\nprint(sys.argv)\n"
    )
    (long.path / "bin/optioned").write_text("#!/usr/bin/env python3 -E\nprint('optioned')\n")
    first = pack_it(plain, tmp_path / "a.tar.zst")
    for exec_line in (
        f"'''exec' '{root}/bin/python3' \"$0\" \"$@\"\n' '''",
        f"'''exec' {root}/bin/python3 \"$0\" \"$@\"\n' '''",
    ):
        (long.path / "bin/pipped").write_text(f"#!/bin/sh\n{exec_line}{rest}")
        assert pack_it(long, tmp_path / "b.tar.zst").sha256 == first.sha256


def test_conda_files_become_what_they_were_in_the_package(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    root = untar(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x")
    for entry in json.loads((root / "conda-meta/demo-1.0-0.json").read_text())["paths_data"][
        "paths"
    ]:
        if entry["path_type"] == "hardlink":
            import hashlib

            content = (root / entry["_path"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry["sha256"]
            assert "size_in_bytes" not in entry


def test_nothing_of_the_build_folder_remains(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    root = untar(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x")
    needle = os.fsencode(tmp_path / "build")
    for path in root.rglob("*"):
        if path.is_symlink():
            assert "build" not in str(path.readlink())
        elif path.is_file():
            assert needle not in path.read_bytes(), path


def test_conda_meta_knows_nothing_of_the_cache(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    root = untar(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x")
    record = json.loads((root / "conda-meta/demo-1.0-0.json").read_text())
    assert record["link"] == {"source": "", "type": 3}
    assert record["extracted_package_dir"] == ""
    assert not any("sha256_in_prefix" in path for path in record["paths_data"]["paths"])
    assert {"_path": "bin/entry", "path_type": "unix_python_entry_point"} in record["paths_data"][
        "paths"
    ]


def _sorted_by(path: str) -> tuple[str, str]:
    """Return the kind, and the name where that comes before the path, as docs/archive.md says."""
    name = path.rpartition("/")[2]
    kind = "so" if ".so" in name else name.rpartition(".")[2] if "." in name[1:] else ""
    return kind, "" if kind in {"so", "py"} else name


def test_modes_owner_time_and_order(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    (prefix.path / "bin/demo").chmod(0o6711)
    archive = pack_it(prefix, tmp_path / "a.tar.gz", format="tar.gz")
    with tarfile.open(archive.path) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names[:5] == [
        "share/reespack/manifest.json",
        "share/reespack/files.tsv",
        "share",
        "share/reespack",
        "share/reespack/placeholders.json",
    ]
    rewritten = ("conda-meta/demo-1.0-0.json", ".dist-info/RECORD")
    rest = [
        (
            not member.isdir(),
            member.name.endswith(rewritten),
            not member.isdir() and _sorted_by(member.name),
            member.name,
        )
        for member in members[5:]
    ]
    assert rest == sorted(rest)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (0, 0, "root", "root", 1_600_000_000)
    }
    modes = {member.name: member.mode for member in members}
    assert modes["bin/demo"] == modes["bin"] == modes["bin/conda-unpack"] == 0o755
    assert modes["etc/demo.conf"] == modes["conda-meta/demo-1.0-0.json"] == 0o644
    assert "empty" in names
    assert not [name for name in names if "__pycache__" in name or name == "CACHEDIR.TAG"]


def test_large_files_wait_unless_the_prefix_is_in_them(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    # In the build folder one's size depends on how long the prefix is: the order must not.
    size = 5 << 20
    for name in ("a", "b"):
        (prefix.path / f"lib/{name}.bin").write_bytes(bytes(size))
    (prefix.path / "lib/a.bix").write_bytes(os.fsencode(f"{prefix.path}\n") + b"x" * size)
    with tarfile.open(pack_it(prefix, tmp_path / "a.tar.gz", format="tar.gz").path) as tar:
        names = [member.name for member in tar.getmembers() if not member.isdir()]
    last = names.index("lib/a.bin")
    assert names.index("lib/a.bix") < last - 1
    assert names[last : last + 2] == ["lib/a.bin", "lib/b.bin"]
    assert names[last + 2].endswith("/RECORD")  # what is rewritten comes last


def test_large_files_are_spread_over_the_small_ones(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reespack.pack.large_files.BEGUN", 8 << 20)
    monkeypatch.setattr("reespack.pack.large_files.LEFT", 4 << 20)
    monkeypatch.setattr("reespack.pack.blocks.FRAME_SIZE", 1 << 20)
    for number in range(8):
        (prefix.path / f"lib/small{number}.bin").write_bytes(bytes(1 << 20))
    noise = random.Random(3).randbytes(8 << 20)  # noqa: S311 - no secret
    contents = {f"lib/{size}.bin": noise[: size << 20] for size in (8, 7, 6, 5)}
    record = prefix.path / "conda-meta/demo-1.0-0.json"
    document = json.loads(record.read_bytes())
    for path, content in contents.items():
        (prefix.path / path).write_bytes(content)
        entry = {"_path": path, "path_type": "hardlink", "size_in_bytes": len(content)}
        document["paths_data"]["paths"].append({**entry, "sha256": path})
    record.write_text(json.dumps(document))
    archive = pack_it(prefix, tmp_path / "a.tar.gz", format="tar.gz")
    with tarfile.open(archive.path) as tar:
        members = tar.getmembers()
    first = next(number for number, member in enumerate(members) if member.name == "lib/8.bin")
    assert all(member.isdir() for member in members[5:first])  # behind the manifest and the lists
    names = [member.name for member in members if member.name.endswith(".bin")]
    large = [names.index(path) for path in contents]  # the largest first
    assert large == sorted(large)
    assert large[0] == 0
    assert 0 < large[1] - 1 < large[2] - 2 < 8  # small ones on both sides of each
    assert large[3] == len(names) - 1
    unpacked = untar(archive.path, tmp_path / "x")
    assert {path: (unpacked / path).read_bytes() for path in contents} == contents


def test_there_may_be_more_folders_than_a_frame_has_room_for(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    top = prefix.path / "deep"
    for letter in "abcdefgh":
        top /= letter * 250
    for number in range(6000):  # with a header of some 3 kB each
        (top / str(number)).mkdir(parents=True)
    target = unpack(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x", threads=1).path
    assert len(list((target / top.relative_to(prefix.path)).iterdir())) == 6000


def test_counts_are_exact(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    archive = pack_it(prefix, tmp_path / "a.tar.zst")
    root = untar(archive.path, tmp_path / "x")
    listed = [p for p in root.rglob("*") if p.is_symlink() or not p.is_dir()]
    unlisted = [root / "share/reespack/manifest.json", root / "share/reespack/files.tsv"]
    counted = [p for p in listed if p not in unlisted]
    assert archive.files == len(counted)
    assert archive.unpacked_size == sum(p.stat().st_size for p in counted if not p.is_symlink())
    assert archive.size == archive.path.stat().st_size


def test_leftovers_are_all_named_with_their_owner(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    root = os.fsencode(prefix.path)
    (prefix.path / "lib/cache.pkl").write_bytes(b"\x80\x04\x95\0" + root)
    (prefix.path / "lib/stripped.bin").write_bytes(b"\0\0" + root)
    (prefix.path / "bin/pipped").write_bytes(b"PK\x03\x04\0" + root)
    prefix = replace(prefix, changes=(_CHANGE,))
    (prefix.path / "etc/demo.conf").write_bytes(b"\x80\x04\0" + root)
    record = prefix.path / "conda-meta/demo-1.0-0.json"
    record.write_text(record.read_text().replace('"file_mode": "text"', '"file_mode": "binary"'))
    with pytest.raises(LeftoverPrefixError) as caught:
        pack_it(prefix, tmp_path / "a.tar.zst")
    assert caught.value.detail is not None
    assert [line.split(": ")[0] for line in caught.value.detail.splitlines()] == [
        "bin/pipped (pipped 1.0)",
        "lib/stripped.bin (of no package)",
        "etc/demo.conf (demo)",
        "lib/cache.pkl (postBuild)",
    ]
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == [tmp_path / "build"]


def test_a_binary_that_postbuild_compiled_is_mended_where_it_fits(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    built = b"\x7fELF\0" + os.fsencode(prefix.path) + b"/lib\0rest\xff"
    (prefix.path / "lib/built.so").write_bytes(built)
    archive = pack_it(prefix, tmp_path / "a.tar.zst")
    short = unpack(archive.path, tmp_path / "s", threads=1).path
    mended = (short / "lib/built.so").read_bytes()
    assert mended.startswith(b"\x7fELF\0" + os.fsencode(short) + b"/lib\0\0")
    assert len(mended) == len(built)
    far = unpack(archive.path, tmp_path / ("f" * 100), threads=1).path
    assert os.fsencode(prefix.path) not in (far / "lib/built.so").read_bytes()


def test_the_resolved_name_of_the_build_folder_is_found_too(
    tmp_path: Path, make: Make, pack_it: Pack
) -> None:
    real = make(tmp_path / "real/env")
    alias = tmp_path / "alias"
    alias.symlink_to(tmp_path / "real")
    (real.path / "etc/other.conf").write_text(f"{alias}/env and {real.path}\n")
    prefix = type(real)(path=alias / "env", lock=real.lock)
    target = unpack(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x", threads=2).path
    assert (target / "etc/other.conf").read_text() == f"{target} and {target}\n"


def test_links(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    (prefix.path / "lib/climbing").symlink_to("../../outside")
    (prefix.path / "lib/round").symlink_to("../../env/etc/demo.conf")
    (prefix.path / "lib/detour").symlink_to("../bin/../etc/demo.conf")
    os.link(prefix.path / "etc/demo.conf", prefix.path / "etc/twin.conf")
    target = unpack(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x", threads=2).path
    assert str((target / "bin/linked").readlink()) == "demo"
    assert str((target / "lib/round").readlink()) == "../etc/demo.conf"
    assert str((target / "lib/detour").readlink()) == "../etc/demo.conf"
    assert str((target / "lib/climbing").readlink()) == str(tmp_path / "build/outside")
    twin = target / "etc/twin.conf"
    assert twin.stat().st_nlink == 1
    assert twin.read_text() == (target / "etc/demo.conf").read_text()


def test_odd_names_and_kinds(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    names = [
        "lib/ünïcødé 日本.txt",
        "lib/tab\tnewline\nbackslash\\.txt",
        os.fsdecode(b"lib/latin-\xe9.txt"),
        "lib/" + "l" * 255,
        "lib/" + "/".join(["deep" * 20] * 12) + "/file",
    ]
    for name in names:
        (prefix.path / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix.path / name).write_text(f"{prefix.path}\n")
    os.mkfifo(prefix.path / "lib/fifo")
    warned: list[str] = []

    class Listener:
        def __getattr__(self, name: str) -> object:
            from reespack.progress import QUIET

            if name == "warn":
                return lambda message, **_: warned.append(message)
            return getattr(QUIET, name)

    archive = pack_it(prefix, tmp_path / "a.tar.zst", progress=Listener())
    assert any("lib/fifo" in message for message in warned)
    target = unpack(archive.path, tmp_path / "x", threads=2).path
    plain = untar(archive.path, tmp_path / "y")
    subprocess.run([plain / "bin/conda-unpack"], check=True)
    for root in (target, plain):
        assert not (root / "lib/fifo").exists()
        for name in names:
            assert (root / name).read_text() == f"{root}\n"


def test_a_socket_is_left_out(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prefix.path)  # a socket's own path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        archive = pack_it(prefix, tmp_path / "a.tar.zst")
    assert verify(archive.path).ok
    assert not (unpack(archive.path, tmp_path / "x", threads=1).path / "s").exists()


def test_large_files_stream_in_frames_of_their_own(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    with (prefix.path / "lib/huge.bin").open("wb") as file:
        for number in range(30):
            file.write(bytes([number]) * 1_000_003)
    with (prefix.path / "lib/huge.txt").open("w") as file:
        for _ in range(400_000):
            file.write("some text, line after line\n")
        file.write(f"and {prefix.path}/at/the/end\n")
    archive = pack_it(prefix, tmp_path / "a.tar.zst")
    target = unpack(archive.path, tmp_path / "x", threads=2).path
    assert (target / "lib/huge.bin").read_bytes() == (prefix.path / "lib/huge.bin").read_bytes()
    with (target / "lib/huge.txt").open() as file:
        assert list(file)[-1] == f"and {target}/at/the/end\n"
    assert verify(archive.path).ok


def test_a_prefix_across_two_reads_of_a_large_file_is_found(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    root = os.fsencode(prefix.path)
    for shift in range(0, len(root) + 1, 7):
        start = (5 << 20) - shift
        (prefix.path / "lib/straddling").write_bytes(b"-" * start + root + b"\n")
        archive = pack_it(prefix, tmp_path / "a.tar.zst")
        plain = untar(archive.path, tmp_path / f"x{shift}")
        assert root not in (plain / "lib/straddling").read_bytes()
        shutil.rmtree(plain)


def test_wheel_records_do_not_hold_the_digests_of_scripts(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    root = untar(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x")
    record = root / "lib/python3.12/site-packages/pipped-1.0.dist-info/RECORD"
    assert record.read_text() == "pipped.py,sha256=x,12\n../../../bin/pipped,,\n"


def test_the_manifest_comes_first_and_is_read_alone(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    archive = pack_it(prefix, tmp_path / "a.tar.zst")
    whole = archive.path.read_bytes()
    cut = tmp_path / "cut.tar.zst"
    cut.write_bytes(whole[:2000])
    assert json.loads(read_manifest(cut))["contents"]["tree_digest"] == archive.tree_digest


def test_no_environment_no_archive(tmp_path: Path, prefix: Prefix, pack_it: Pack) -> None:
    shutil.rmtree(prefix.path / "conda-meta")
    with pytest.raises(PackError, match="conda-meta"):
        pack_it(prefix, tmp_path / "a.tar.zst")
    assert not (tmp_path / "a.tar.zst").exists()


def test_an_unwritable_folder_is_an_error_of_one_line(
    tmp_path: Path, prefix: Prefix, pack_it: Pack
) -> None:
    with pytest.raises(PackError, match="cannot be written"):
        pack_it(prefix, tmp_path / "nowhere/a.tar.zst")


def test_a_full_disk_leaves_nothing(tmp_path: Path, prefix: Prefix) -> None:
    import resource
    import sys

    (prefix.path / "lib/noise").write_bytes(os.urandom(3_000_000))
    good = tmp_path / "a.tar.zst"
    good.write_text("an earlier archive")
    program = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, {resource.RLIM_INFINITY}))
from pathlib import Path
from reespack.errors import PackError
from reespack.products import PlatformLock, Prefix
from reespack.pack import pack
prefix = Prefix(path=Path({str(prefix.path)!r}), lock=PlatformLock(platform="linux-64", conda=()))
try:
    pack(prefix, target=Path({str(good)!r}), format="tar.zst", describe=lambda _: b"{{}}",
         mtime=0, threads=2)
except PackError as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "cannot be written: File too large" in done.stdout
    assert good.read_text() == "an earlier archive"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.zst", "build"]


def test_without_mksquashfs_the_hint_says_what_to_install(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackError, match="mksquashfs is not on PATH") as caught:
        pack_it(prefix, tmp_path / "a.squashfs", format="squashfs")
    assert caught.value.hint is not None
    assert "squashfs-tools" in caught.value.hint


@pytest.mark.skipif(shutil.which("mksquashfs") is None, reason="mksquashfs is not installed")
def test_squashfs(tmp_path: Path, make: Make, pack_it: Pack, tree: Callable[..., Any]) -> None:
    first = pack_it(make(tmp_path / "a/env"), tmp_path / "a.squashfs", format="squashfs")
    second = pack_it(make(tmp_path / "b/b/b/env"), tmp_path / "b.squashfs", format="squashfs")
    assert first.sha256 == second.sha256
    assert json.loads(read_manifest(first.path))["contents"]["tree_digest"] == first.tree_digest
    assert verify(first.path).ok
    image = unpack(first.path, tmp_path / "x", threads=2).path
    seen = tree(image)
    shutil.rmtree(image)
    tar = pack_it(make(tmp_path / "c/env"), tmp_path / "c.tar.zst")
    assert tar.tree_digest == first.tree_digest
    assert tree(unpack(tar.path, tmp_path / "x", threads=2).path) == seen


def test_a_packages_twins_stand_together(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, add_to_package: AddToPackage
) -> None:
    content = bytes(range(256)) * 20
    for name in ("lib/x/twin.js", "share/deep/below/twin.js", "share/deep/below/a.js"):
        add_to_package(prefix, name, content)
    for name in ("lib/x/small.js", "share/deep/small.js"):
        add_to_package(prefix, name, b"small")
    (prefix.path / "etc/twin.js").write_bytes(content)  # nobody's: no package says what it is
    archive = pack_it(prefix, tmp_path / "a.tar.gz", format="tar.gz")
    with tarfile.open(archive.path) as tar:
        names = [member.name for member in tar if member.isfile()]
    first = names.index("share/deep/below/a.js")
    assert names[first + 1 : first + 3] == ["lib/x/twin.js", "share/deep/below/twin.js"]
    assert names.index("share/deep/small.js") > first + 2
    assert names.index("etc/twin.js") > first + 2
    assert unpack(archive.path, tmp_path / "x", threads=2).files == archive.files
