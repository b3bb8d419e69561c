from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from reespack.channel.conda_file import (
    PLACEHOLDER,
    PackageFile,
    PackageInfo,
    new_file,
    write_conda_file,
)

INFO = PackageInfo(
    name="thing",
    version="1.0",
    build="h0_0",
    subdir="linux-64",
    depends=("python",),
    timestamp=1_600_000_000_000,
    license="MIT",
)
SCRIPT = f"#!{PLACEHOLDER}/bin/python\n".encode()
FILES = (
    PackageFile(path="lib/b.txt", read=lambda: b"bytes"),
    PackageFile(path="bin/run", read=lambda: SCRIPT, executable=True, placeholder="text"),
    PackageFile(path="bin/link", read=lambda: SCRIPT, link="run"),
)


class Parts:
    """The two archives inside a `.conda` file."""

    def __init__(self, path: Path) -> None:
        self.members: dict[str, tarfile.TarInfo] = {}
        self.contents: dict[str, bytes] = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".tar.zst"):
                    self._read(archive.read(name))

    def _read(self, compressed: bytes) -> None:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(compressed)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                self.members[member.name] = member
                if (file := tar.extractfile(member) if member.isfile() else None) is not None:
                    self.contents[member.name] = file.read()


def test_the_same_content_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    one = write_conda_file(tmp_path / "one", INFO, FILES)
    two = write_conda_file(tmp_path / "two", INFO, FILES[::-1])
    assert one.relative_to(tmp_path / "one") == Path("linux-64/thing-1.0-h0_0.conda")
    assert one.read_bytes() == two.read_bytes()


def test_modes_links_and_times_are_in_the_archive(tmp_path: Path) -> None:
    members = Parts(write_conda_file(tmp_path, INFO, FILES)).members
    assert list(members)[:3] == ["bin/link", "bin/run", "lib/b.txt"]
    assert members["bin/run"].mode == 0o755
    assert members["lib/b.txt"].mode == 0o644
    assert members["bin/link"].linkname == "run"
    assert {member.mtime for member in members.values()} == {1_600_000_000}


def test_paths_name_digests_and_placeholders(tmp_path: Path) -> None:
    rows = json.loads(Parts(write_conda_file(tmp_path, INFO, FILES)).contents["info/paths.json"])[
        "paths"
    ]
    by_path = {row["_path"]: row for row in rows}
    assert by_path["bin/run"]["prefix_placeholder"] == PLACEHOLDER
    assert by_path["bin/run"]["file_mode"] == "text"
    assert by_path["bin/link"]["path_type"] == "softlink"
    assert by_path["lib/b.txt"] == {
        "_path": "lib/b.txt",
        "path_type": "hardlink",
        "sha256": hashlib.sha256(b"bytes").hexdigest(),
        "size_in_bytes": 5,
    }
    assert len(PLACEHOLDER) == 255


def test_rattler_reads_the_index(tmp_path: Path) -> None:
    from rattler.package import IndexJson

    parts = Parts(write_conda_file(tmp_path, INFO, FILES))
    (tmp_path / "index.json").write_bytes(parts.contents["info/index.json"])
    index = IndexJson.from_path(tmp_path / "index.json")
    assert index.name.normalized == "thing"
    assert index.depends == ["python"]
    assert index.subdir == "linux-64"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail() -> None:
        with new_file(target) as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
