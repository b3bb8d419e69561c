from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

from reespack.model import Repository
from reespack.working_copy import copy_repository

if TYPE_CHECKING:
    from pathlib import Path


def repository(top: Path, subdir: str = "") -> Repository:
    return Repository(root=top / subdir, top=top, name="repo", source=str(top), subdir=subdir)


def test_the_whole_checkout_is_copied_and_the_root_found_in_it(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "sub/file").write_text("text")
    (top / "sub/link").symlink_to("file")
    (top / "script").write_text("#!/bin/sh\n")
    (top / "script").chmod(0o755)
    subprocess.run(["git", "init", "--quiet", top], check=True)
    root = copy_repository(repository(top, "sub"), tmp_path / "copy")
    assert root == tmp_path / "copy/sub"
    assert (root / "file").read_text() == "text"
    assert os.readlink(root / "link") == "file"  # noqa: PTH115 - the text of the link
    assert os.access(tmp_path / "copy/script", os.X_OK)
    assert (tmp_path / "copy/.git/HEAD").is_file()


def test_a_copy_shares_nothing_with_the_original_and_can_be_written(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "data").write_text("mine")
    (top / "data").chmod(0o444)
    root = copy_repository(repository(top), tmp_path / "copy")
    assert os.stat(root / "data").st_mode & 0o200  # noqa: PTH116 - as the owner sees it
    (root / "data").write_text("changed")
    assert (top / "data").read_text() == "mine"


def test_sockets_and_earlier_archives_stay_behind(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "dist").mkdir(parents=True)
    for name in ("env-1.tar.zst", "env-1.manifest.json", "data.tar.gz"):
        (top / "dist" / name).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))
    os.mkfifo(top / "pipe")
    root = copy_repository(repository(top), tmp_path / "copy")
    assert sorted(path.name for path in root.rglob("*")) == [
        "data.tar.gz",
        "dist",
        "env-1.manifest.json",
    ]


def test_a_build_folder_in_the_tree_is_not_copied_into_itself(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "out/env").mkdir(parents=True)
    (top / "out/kept").touch()
    work = top / "out/work"
    work.mkdir()
    root = copy_repository(repository(top), work / "copy", without=(work, top / "out/env"))
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) == [
        "out",
        "out/kept",
    ]
