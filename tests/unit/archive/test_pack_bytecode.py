"""Bytecode in an archive: beside its source, in its package's record, and only where it fits."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reespack.errors import PackError
from reespack.products import Bytecode
from reespack.unpack import unpack, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reespack.products import Archive, Prefix

    Pack = Callable[..., Archive]
    AddToPackage = Callable[[Prefix, str, bytes], None]
    Make = Callable[[Path], Prefix]


def untar(archive: Path, target: Path) -> Path:
    target.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
    return target


def bytecode_of(prefix: Prefix, source: str, content: bytes) -> Bytecode:
    """Pretend that a source was compiled, into a file with other things."""
    file = prefix.path.parent / "bundle"
    before = file.read_bytes() if file.exists() else b"before"
    file.write_bytes(before + content + b"after")
    folder, _, name = source.rpartition("/")
    return Bytecode(
        path=f"{folder}/__pycache__/{name[:-3]}.cpython-312.pyc",
        source=source,
        source_sha256=hashlib.sha256((prefix.path / source).read_bytes()).hexdigest(),
        file=file,
        offset=len(before),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def given(*bytecode: Bytecode) -> Callable[..., tuple[Bytecode, ...]]:
    """Return what compiles as `pack` asks for it, with a result that is known."""
    return lambda _records, _files: bytecode


SOURCE = "lib/python3.12/site-packages/mod/sub.py"
PYC = "lib/python3.12/site-packages/mod/__pycache__/sub.cpython-312.pyc"


@pytest.mark.parametrize("size", [10, 5 << 20])
def test_bytecode_is_packed_from_where_it_lies_and_belongs_to_the_package(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, add_to_package: AddToPackage, size: int
) -> None:
    add_to_package(prefix, SOURCE, b"answer = 42\n")
    code = b"\1" * size
    bytecode = (
        bytecode_of(prefix, SOURCE, code),
        bytecode_of(prefix, "lib/python3.12/site-packages/pipped.py", b"other"),
    )
    archive = pack_it(prefix, tmp_path / "a.tar.zst", bytecode=given(*bytecode))
    assert verify(archive.path).ok
    root = unpack(archive.path, tmp_path / "x", threads=2).path
    assert (root / PYC).read_bytes() == code
    other = root / "lib/python3.12/site-packages/__pycache__/pipped.cpython-312.pyc"
    assert other.read_bytes() == b"other"
    assert len(list(root.rglob("*.pyc"))) == 2
    record = json.loads((root / "conda-meta/demo-1.0-0.json").read_text())
    assert [path for path in record["files"] if "__pycache__" in path] == [PYC]
    entries = [one for one in record["paths_data"]["paths"] if "__pycache__" in one["_path"]]
    assert entries == [{"_path": PYC, "path_type": "pyc_file"}]


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_no_bytecode_for_a_source_that_becomes_another(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, add_to_package: AddToPackage, form: str
) -> None:
    add_to_package(prefix, SOURCE, b"answer = 42\n")
    placed = "lib/python3.12/site-packages/mod/placed.py"
    (prefix.path / placed).write_text(f"prefix = {str(prefix.path)!r}\n")
    missing = replace(
        bytecode_of(prefix, SOURCE, b"code"), source="lib/gone.py", path="lib/__pycache__/g.pyc"
    )
    bytecode = (
        bytecode_of(prefix, SOURCE, b"code"),
        bytecode_of(prefix, placed, b"placed"),
        missing,
    )
    expected = pack_it(prefix, tmp_path / "a", format=form, bytecode=given(bytecode[0]))
    archive = pack_it(prefix, tmp_path / "b", format=form, bytecode=given(*bytecode))
    assert archive.sha256 == expected.sha256
    root = untar(archive.path, tmp_path / "x")
    assert [path.name for path in root.rglob("*.pyc")] == ["sub.cpython-312.pyc"]


def test_a_bundle_that_was_cut_off(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, add_to_package: AddToPackage
) -> None:
    add_to_package(prefix, SOURCE, b"answer = 42\n")
    one = bytecode_of(prefix, SOURCE, b"code")
    one.file.write_bytes(b"before")
    with pytest.raises(PackError, match="became shorter"):
        pack_it(prefix, tmp_path / "a.tar.zst", bytecode=given(one))


def test_bytecode_stands_behind_its_source(
    tmp_path: Path, prefix: Prefix, pack_it: Pack, add_to_package: AddToPackage
) -> None:
    add_to_package(prefix, SOURCE, b"answer = 42\n")
    one = bytecode_of(prefix, SOURCE, b"code")
    archive = pack_it(prefix, tmp_path / "a.tar.gz", format="tar.gz", bytecode=given(one))
    with tarfile.open(archive.path) as tar:
        names = tar.getnames()
    assert names[names.index(SOURCE) + 1] == PYC
