from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import pytest

from reespack.channel.elf import Dynamic, find_library, is_elf, is_glibc, read_dynamic, set_rpath

PYTHON = Path(sys.executable).resolve()


def test_the_running_python_is_read() -> None:
    dynamic = read_dynamic(PYTHON)
    assert is_elf(PYTHON)
    assert "libc.so.6" in dynamic.needed
    assert dynamic.glibc is not None
    here = tuple(int(number) for number in platform.libc_ver()[1].split("."))
    assert (2, 2) <= dynamic.glibc <= here


def test_libraries_are_found_as_the_loader_finds_them() -> None:
    libc = find_library("libc.so.6", asked_by=PYTHON)
    assert libc is not None
    assert read_dynamic(libc).soname == "libc.so.6"
    assert find_library("libno-such-thing.so.9", asked_by=PYTHON) is None


def test_the_library_path_can_be_set(tmp_path: Path) -> None:
    copy = tmp_path / "python"
    shutil.copyfile(PYTHON, copy)
    set_rpath(copy, "$ORIGIN/../lib")
    assert read_dynamic(copy).rpath == "$ORIGIN/../lib"
    assert read_dynamic(copy).needed == read_dynamic(PYTHON).needed


def test_an_own_library_path_counts_first(tmp_path: Path) -> None:
    copy = tmp_path / "bin" / "python"
    copy.parent.mkdir()
    shutil.copyfile(PYTHON, copy)
    set_rpath(copy, "$ORIGIN/../lib")
    own = tmp_path / "lib" / "libc.so.6"
    own.parent.mkdir()
    own.touch()
    found = find_library("libc.so.6", asked_by=copy)
    assert found is not None
    assert found.samefile(own)


def test_other_files_have_no_dynamic_section(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\n")
    assert not is_elf(text)
    assert read_dynamic(text) == Dynamic()


@pytest.mark.parametrize(
    ("soname", "expected"),
    [
        ("libc.so.6", True),
        ("libm.so.6", True),
        ("libpthread.so.0", True),
        ("libdl.so.2", True),
        ("libutil.so.1", True),
        ("libresolv.so.2", True),
        ("libnsl.so.1", True),
        ("ld-linux-x86-64.so.2", True),
        ("ld-linux-aarch64.so.1", True),
        ("libcrypt.so.1", False),
        ("libcrypto.so.3", False),
        ("libnsl.so.2", False),
        ("libcom_err.so.2", False),
        ("libmagic.so.1", False),
        ("libstdc++.so.6", False),
        ("libgcc_s.so.1", False),
    ],
)
def test_glibc_is_told_from_the_rest(soname: str, *, expected: bool) -> None:
    assert is_glibc(soname) is expected
