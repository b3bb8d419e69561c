from __future__ import annotations

import ast
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from reespack.archive.conda_unpack import mended, shebang
from reespack.pack.scripts import scripts
from reespack.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reespack.products import Archive, Prefix


@pytest.fixture
def root(tmp_path: Path, prefix: Prefix, pack_it: Callable[..., Archive]) -> Path:
    archive = pack_it(prefix, tmp_path / "a.tar.zst").path
    return unpack(archive, tmp_path / "x", threads=2).path


def conda_unpack(
    root: Path, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [root / "bin/conda-unpack", *arguments],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=check,
    )


def conf(root: Path) -> str:
    return f"a={root}\nb={root}/b:{root}/c\n"


def test_moved_again_and_again(
    tmp_path: Path, root: Path, tree: Callable[[Path], dict[str, object]]
) -> None:
    original = tree(root)
    places = ["y", "l" * 120, "a b", "x-and-more", "x"]  # the last is where it began
    for name in places:
        root = root.rename(tmp_path / name)
        assert conda_unpack(root).stderr == ""
        assert (root / "etc/demo.conf").read_text() == conf(root)
        place = os.fsencode(root)
        assert b"x" + place + b"/a:" + place + b"/b\0" in (root / "lib/libdemo.so").read_bytes()
        assert subprocess.run([root / "bin/demo"], env={}, check=True, capture_output=True)
    assert tree(root) == original


def test_a_second_run_writes_nothing(root: Path) -> None:
    before = {path: path.stat().st_ino for path in root.rglob("*") if path.is_file()}
    conda_unpack(root)
    assert {path: path.stat().st_ino for path in root.rglob("*") if path.is_file()} == before


def test_moved_to_where_its_own_prefix_begins(tmp_path: Path, root: Path) -> None:
    inner = tmp_path / "z/x"
    inner.parent.mkdir()
    root = root.rename(inner)
    conda_unpack(root)
    aside = root.rename(tmp_path / "aside")
    inner.parent.rmdir()
    root = aside.rename(tmp_path / "z")
    conda_unpack(root)
    assert (root / "etc/demo.conf").read_text() == conf(root)


def test_an_interrupted_run_is_taken_up_again(tmp_path: Path, root: Path) -> None:
    old = root
    root = root.rename(tmp_path / "longer-name")
    (root / "etc/demo.conf").write_text(conf(root))  # done; the others are not
    (root / "share/reespack/prefix").write_text(f"{old}\n{root}\n")
    root = root.rename(tmp_path / "third")
    conda_unpack(root)
    assert (root / "etc/demo.conf").read_text() == conf(root)
    assert (root / "bin/demo").read_text().startswith(f"#!{root}/bin/python3\n")
    assert (root / "share/reespack/prefix").read_text() == f"{root}\n"


def test_a_text_that_someone_changed_is_searched(tmp_path: Path, root: Path) -> None:
    (root / "etc/demo.conf").write_text(f"mine={root}/x\nnot={root}-other\n")
    old = root
    root = root.rename(tmp_path / "y")
    conda_unpack(root)
    assert (root / "etc/demo.conf").read_text() == f"mine={root}/x\nnot={old}-other\n"


def test_a_changed_binary_is_left_alone_with_a_word(tmp_path: Path, root: Path) -> None:
    (root / "lib/libdemo.so").write_bytes(b"another")
    (root / "etc/demo.conf").unlink()
    root = root.rename(tmp_path / "y")
    assert "lib/libdemo.so has changed" in conda_unpack(root).stderr
    assert (root / "lib/libdemo.so").read_bytes() == b"another"


def test_a_path_too_long_is_refused_before_anything_is_written(tmp_path: Path, root: Path) -> None:
    old = root
    (tmp_path / ("d" * 200)).mkdir()
    root = root.rename(tmp_path / ("d" * 200) / ("e" * 100))
    done = conda_unpack(root, check=False)
    assert done.returncode == 1
    assert "too long for lib/libdemo.so" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (root / "etc/demo.conf").read_text() == conf(old)


def test_modes_and_times_stay(tmp_path: Path, root: Path) -> None:
    before = (root / "bin/demo").stat()
    root = root.rename(tmp_path / "y")
    conda_unpack(root)
    after = (root / "bin/demo").stat()
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)


def test_stale_bytecode_goes(
    tmp_path: Path, prefix: Prefix, pack_it: Callable[..., Archive]
) -> None:
    (prefix.path / "lib/where.py").write_text(f"here = {str(prefix.path)!r}\n")
    root = unpack(pack_it(prefix, tmp_path / "a.tar.zst").path, tmp_path / "x", threads=1).path
    cache = root / "lib/__pycache__"
    cache.mkdir()
    (cache / "where.cpython-312.pyc").write_bytes(b"")
    (cache / "elsewhere.cpython-312.pyc").write_bytes(b"")
    root = root.rename(tmp_path / "y")
    conda_unpack(root)
    assert [path.name for path in (root / "lib/__pycache__").iterdir()] == [
        "elsewhere.cpython-312.pyc"
    ]


def test_it_is_found_through_a_link_and_by_a_bare_name(tmp_path: Path, root: Path) -> None:
    root = root.rename(tmp_path / "y")
    link = tmp_path / "conda-unpack"
    link.symlink_to(root / "bin/conda-unpack")
    subprocess.run([link], check=True)
    assert (root / "etc/demo.conf").read_text() == conf(root)
    root = root.rename(tmp_path / "z")
    subprocess.run(["/bin/sh", "conda-unpack"], check=True, cwd=root / "bin", env={})
    assert (root / "etc/demo.conf").read_text() == conf(root)


def test_version_help_and_verbose(root: Path) -> None:
    assert conda_unpack(root, "--version").stdout.startswith("conda-unpack")
    assert "usage" in conda_unpack(root, "--help").stdout
    assert str(root) in conda_unpack(root, "-v").stdout
    assert conda_unpack(root, "--nonsense", check=False).returncode == 2


def test_read_only_and_in_place_is_no_error(root: Path) -> None:
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    try:
        assert conda_unpack(root).returncode == 0
    finally:
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)


def test_the_script_runs_on_older_pythons() -> None:
    tree = ast.parse(scripts({})["bin/conda-unpack"], feature_version=(3, 7))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported <= {"argparse", "contextlib", "json", "os", "re", "sys", "tempfile"}


@pytest.mark.parametrize("shell", ["bash", "bash -u", "bash -eu"])
def test_activate_and_deactivate(root: Path, shell: str) -> None:
    script = (
        f". {root}/bin/activate; echo $CONDA_PREFIX; command -v demo; echo $PLAIN; echo $PLACE;"
        ' . deactivate; echo "${CONDA_PREFIX-none} ${PLAIN-unset}"; command -v demo || echo gone'
    )
    done = subprocess.run(
        [*shell.split(), "-c", script],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        str(root),
        f"{root}/bin/demo",
        "it's $HOME",
        f"{root}/share",
        "none unset",
        "gone",
    ]


def test_a_long_line_of_another_language_goes_through_path() -> None:
    line = shebang(b"#!", b"/bin/perl -w", b"/" + b"l" * 200)
    assert line == b"#!/usr/bin/env -S perl -w"


def test_mending_does_not_take_one_prefix_for_another() -> None:
    texts = [b"/placeholder"]
    record = {"path": "f", "text": 0, "at": [2], "size": 18}
    packed = b"a=/placeholder/bin"
    at_ab = mended(packed, record, texts, None, b"/a/b")
    assert at_ab == b"a=/a/b/bin"
    assert mended(at_ab, record, texts, b"/a", b"/x") is None
    assert mended(at_ab, record, texts, b"/a/b", b"/x") == b"a=/x/bin"
