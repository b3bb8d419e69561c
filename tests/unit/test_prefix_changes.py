from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reespack.files import sha256_bytes
from reespack.prefix.changes import compare, take_snapshot

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_each_kind_of_change_is_found_in_order(tmp_path: Path) -> None:
    write(tmp_path / "lib/kept", "kept")
    write(tmp_path / "lib/gone", "gone")
    write(tmp_path / "lib/other", "a")
    before = take_snapshot(tmp_path)
    (tmp_path / "lib/gone").unlink()
    write(tmp_path / "lib/other", "bb")
    write(tmp_path / "bin/new", "new")
    assert list(compare(before, take_snapshot(tmp_path), tmp_path)) == [
        ("bin/new", "added"),
        ("lib/gone", "deleted"),
        ("lib/other", "changed"),
    ]


def test_a_write_that_keeps_size_and_time_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write(file, "aaaa")
    os.utime(file, ns=(1, 1))
    before = take_snapshot(tmp_path)
    write(file, "bbbb")
    os.utime(file, ns=(1, 1))
    assert list(compare(before, take_snapshot(tmp_path), tmp_path)) == [("file", "changed")]


def test_a_file_that_was_only_touched_is_not_changed_when_its_digest_is_known(
    tmp_path: Path,
) -> None:
    write(tmp_path / "file", "same")
    before = take_snapshot(tmp_path)
    os.utime(tmp_path / "file", ns=(1, 1))
    after = take_snapshot(tmp_path)
    known = {"file": sha256_bytes(b"same")}
    assert list(compare(before, after, tmp_path, known=known.get)) == []
    assert list(compare(before, after, tmp_path)) == [("file", "changed")]


def test_links_and_modes_count_and_bytecode_does_not(tmp_path: Path) -> None:
    write(tmp_path / "tool", "tool")
    (tmp_path / "link").symlink_to("tool")
    before = take_snapshot(tmp_path)
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere")
    write(tmp_path / "__pycache__/x.pyc", "code")
    write(tmp_path / "lib/__pycache__/x.pyc", "code")
    assert list(compare(before, take_snapshot(tmp_path), tmp_path)) == [
        ("link", "changed"),
        ("tool", "changed"),
    ]
