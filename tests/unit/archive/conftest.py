"""A small environment made by hand, as conda, pip and postBuild would leave it at any path."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest

from reespack.pack import Contents, pack
from reespack.products import Archive, PlatformLock, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Pack = Callable[..., Archive]

LONG = "/opt" + "_placehold" * 25
assert len(LONG) == 254

CONDA_FILES = {
    # path: (content as in the package, text or binary)
    "bin/demo": (f"#!{LONG}/bin/python3\nimport sys\nprint(sys.argv)\n".encode(), "text"),
    "bin/optioned": (f"#!{LONG}/bin/python3 -E\nprint('optioned')\n".encode(), "text"),
    "bin/shelly": (f"#!/bin/sh\nexec {LONG}/bin/python3 -c 'print(1)'\n".encode(), "text"),
    "etc/demo.conf": (f"a={LONG}\nb={LONG}/b:{LONG}/c\n".encode(), "text"),
    "lib/libdemo.so": (
        b"\x7fELF\0\1" + f"{LONG}/lib\0x{LONG}/a:{LONG}/b\0".encode() + b"\0\0tail\0\xff",
        "binary",
    ),
}


def as_installed(content: bytes, mode: str, prefix: bytes) -> bytes:
    """Put a prefix in as conda does: binary strings keep their room by zeros at their end."""
    if mode == "text":
        return content.replace(LONG.encode(), prefix)
    pieces = content.split(b"\0")
    out: list[bytes] = []
    for piece in pieces:
        shorter = piece.replace(LONG.encode(), prefix)
        out.append(shorter + b"\0" * (len(piece) - len(shorter)))
    return b"\0".join(out)


def make_environment(path: Path) -> Prefix:
    for name, (content, mode) in CONDA_FILES.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(as_installed(content, mode, os.fsencode(path)))
        file.chmod(0o755 if name.startswith("bin/") else 0o644)
    site = path / "lib/python3.12/site-packages"
    info = site / "pipped-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "pipped.py").write_text("answer = 42\n")
    (site / "__pycache__").mkdir()
    (site / "__pycache__/pipped.cpython-312.pyc").write_bytes(os.fsencode(path))
    (path / "bin/pipped").write_text(f"#!{path}/bin/python3\nprint('pipped')\n")
    (path / "bin/pipped").chmod(0o700)
    digest = hashlib.sha256((path / "bin/pipped").read_bytes()).hexdigest()
    (info / "RECORD").write_text(f"pipped.py,sha256=x,12\n../../../bin/pipped,sha256={digest},9\n")
    (path / "bin/python3").symlink_to(sys.executable)
    (path / "bin/linked").symlink_to(path / "bin/demo")
    (path / "empty").mkdir()
    (path / "conda-meta").mkdir()
    (path / "conda-meta/demo-1.0-0.json").write_text(json.dumps(conda_record(path)))
    (path / "conda-meta/demo-1.0-0.json").chmod(0o600)
    (path / "conda-meta/history").write_text("")
    variables = {"PLAIN": "it's $HOME", "PLACE": f"{path}/share", "GONE": "***unset***"}
    (path / "conda-meta/state").write_text(json.dumps({"version": 1, "env_vars": variables}))
    (path / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    return Prefix(path=path, lock=PlatformLock(platform="linux-64", conda=()))


def conda_record(path: Path) -> dict[str, Any]:
    paths = [
        {
            "_path": name,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "sha256_in_prefix": hashlib.sha256((path / name).read_bytes()).hexdigest(),
            "size_in_bytes": (path / name).stat().st_size,
            "file_mode": mode,
            "prefix_placeholder": LONG,
        }
        for name, (content, mode) in CONDA_FILES.items()
    ]
    entry_point = {"_path": "bin/entry", "path_type": "unix_python_entry_point", "sha256": "0"}
    return {
        "name": "demo",
        "version": "1.0",
        "build": "0",
        "files": [*CONDA_FILES, "bin/entry"],
        "paths_data": {"paths_version": 1, "paths": [*paths, entry_point]},
        "extracted_package_dir": f"{path.parent}/cache/demo-1.0-0",
        "link": {"source": f"{path.parent}/cache/demo-1.0-0", "type": 1},
    }


def describe(contents: Contents) -> bytes:
    """Make a manifest of no more than is needed to verify."""
    return json.dumps({"contents": {"tree_digest": contents.tree_digest}}).encode()


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    return make_environment(tmp_path / "build/env")


@pytest.fixture
def make() -> Callable[[Path], Prefix]:
    return make_environment


@pytest.fixture
def add_to_package() -> Callable[[Prefix, str, bytes], None]:
    """Return what adds a file to an environment as if its conda package had brought it."""

    def add(prefix: Prefix, path: str, content: bytes) -> None:
        (prefix.path / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix.path / path).write_bytes(content)
        file = prefix.path / "conda-meta/demo-1.0-0.json"
        record = json.loads(file.read_text())
        # as packages do that bring bytecode of their own
        stale = "lib/python3.12/__pycache__/gone.cpython-312.pyc"
        record["files"] += [path, stale]
        record["paths_data"]["paths"] += [
            {
                "_path": path,
                "path_type": "hardlink",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_in_bytes": len(content),
            },
            {"_path": stale, "path_type": "hardlink", "sha256": "2"},
        ]
        file.write_text(json.dumps(record))

    return add


@pytest.fixture
def pack_it() -> Pack:
    def run(prefix: Prefix, target: Path, **options: object) -> Archive:
        settings = {"format": "tar.zst", "describe": describe, "mtime": 1_600_000_000, "threads": 2}
        every: dict[str, Any] = {**settings, **options}
        return pack(prefix, target=target, **every)

    return run


@pytest.fixture
def tree() -> Callable[[Path], dict[str, Any]]:
    """Return everything that can be seen of a tree but its times."""

    def see(root: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(root.rglob("*")):
            status = path.lstat()
            name = str(path.relative_to(root))
            if path.is_symlink():
                found[name] = str(path.readlink())
            elif path.is_dir():
                found[name] = oct(stat.S_IMODE(status.st_mode))
            else:
                found[name] = (path.read_bytes(), oct(stat.S_IMODE(status.st_mode)))
        return found

    return see
