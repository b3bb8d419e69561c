from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from typing import TYPE_CHECKING

import pytest

from reespack.errors import InstallError
from reespack.files import current_umask, sha256_file
from reespack.prefix.built_wheel import normalize_wheel
from reespack.prefix.sdist import unpack_sdist
from reespack.prefix.steady import even_out, steady, with_mapped_paths
from reespack.surroundings import in_reverse, other_surroundings

if TYPE_CHECKING:
    from pathlib import Path

WHEN = 1_600_000_001


def write_wheel(path: Path, names: list[str], *, mode: int, moment: int, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as wheel:
        for name in names:
            info = zipfile.ZipInfo(name, (2001 + moment, 1, 1, 0, 0, 0))
            info.external_attr = (0o100000 | mode | (0o100 if "bin" in name else 0)) << 16
            wheel.writestr(info, "\n".join(names if name.endswith("RECORD") else [name]))


def test_wheels_that_hold_the_same_become_the_same_file(tmp_path: Path) -> None:
    names = ["b.py", "a.py", "bin/tool", "x-1.dist-info/RECORD", "x-1.dist-info/METADATA"]
    one, other = tmp_path / "1" / "x-1-py3-none-any.whl", tmp_path / "2" / "x-1-py3-none-any.whl"
    write_wheel(one, names, mode=0o644, moment=1, level=1)
    write_wheel(other, names[::-1], mode=0o600, moment=2, level=9)
    for wheel in (one, other):
        normalize_wheel(wheel, when=WHEN)
    with zipfile.ZipFile(one) as wheel:
        assert wheel.namelist() == [
            *("a.py", "b.py", "bin/tool"),
            *("x-1.dist-info/METADATA", "x-1.dist-info/RECORD"),
        ]
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in wheel.infolist()}
        assert modes["a.py"] == 0o644
        assert modes["bin/tool"] == 0o755
        assert {info.date_time[0] for info in wheel.infolist()} == {2020}
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        assert {name: first.read(name) for name in names if "RECORD" not in name} == {
            name: second.read(name) for name in names if "RECORD" not in name
        }
    assert sha256_file(one) == sha256_file(other)


def test_what_is_no_wheel_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "x.whl"
    file.write_text("no zip")
    with pytest.raises(InstallError, match=r"x\.whl"):
        normalize_wheel(file, when=WHEN)
    assert file.read_text() == "no zip"


def test_a_working_copy_says_nothing_of_its_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    (folder / "below").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name, mode in (("plain", 0o600), ("program", 0o700), ("below/x", 0o664), (".git/x", 0o600)):
        (folder / name).write_text("")
        (folder / name).chmod(mode)
    (folder / "link").symlink_to("plain")
    even_out(folder, when=WHEN)
    modes = {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }
    assert (modes["plain"], modes["program"], modes["below/x"]) == (0o644, 0o755, 0o644)
    assert modes["below"] == 0o755
    assert modes[".git/x"] == 0o600
    times = {path.lstat().st_mtime for path in folder.rglob("*") if ".git" not in path.parts}
    assert times | {folder.stat().st_mtime} == {WHEN}


def test_a_compilers_flags_are_added_to_and_never_set(tmp_path: Path) -> None:
    made = with_mapped_paths({"CFLAGS": "-O1"}, {tmp_path: "/build"})
    flag = f"-fdebug-prefix-map={tmp_path}=/build"
    assert made == {"CPPFLAGS": flag, "CFLAGS": f"-O1 {flag}"}


def sdist(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            content = b"x" if member.isfile() else b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def test_an_sdist_is_unpacked_where_it_is_wanted(tmp_path: Path) -> None:
    file = sdist(
        tmp_path / "x-1.tar.gz",
        member("x-1/setup.py"),
        member("x-1/below", tarfile.DIRTYPE),
        member("x-1/below/link", tarfile.SYMTYPE, link="../setup.py"),
        member("x-1/hard", tarfile.LNKTYPE, link="x-1/setup.py"),
    )
    project = unpack_sdist(file, tmp_path / "out")
    assert project == tmp_path / "out" / "x-1"
    assert (project / "below/link").read_text() == "x"
    assert (project / "hard").read_text() == "x"


def test_a_zipped_sdist_is_unpacked_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x-1.zip", "w") as archive:
        archive.writestr("x-1/setup.py", "x")
    project = unpack_sdist(tmp_path / "x-1.zip", tmp_path / "out")
    assert (project / "setup.py").read_text() == "x"


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("/evil")],
        [member("x/link", tarfile.SYMTYPE, link="../../evil")],
        [member("x/link", tarfile.SYMTYPE, link="/etc")],
        [member("x/l", tarfile.SYMTYPE, link="."), member("x/l/evil")],
    ],
)
def test_an_sdist_writes_nothing_outside(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    file = sdist(tmp_path / "x-1.tar.gz", *members)
    with pytest.raises(InstallError, match="leads out of it"):
        unpack_sdist(file, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_the_surroundings_of_a_build_hide_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    program = [sys.executable, "-c", "import time; print(time.strftime('%Z'), hash('a'))"]
    said = {
        subprocess.run(
            program, env={**os.environ, **more, **steady(WHEN)}, check=True, capture_output=True
        ).stdout
        for more in ({}, {"TZ": "America/New_York", "PYTHONHASHSEED": "3"})
    }
    assert len(said) == 1


def test_other_surroundings_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("LC_ALL", raising=False)
    before = os.umask(0o022)
    try:
        with other_surroundings():
            assert time.localtime(0).tm_hour != 0
            assert current_umask() == 0o077
        assert current_umask() == 0o022
        os.umask(0o002)
        with other_surroundings():
            assert current_umask() == 0o002
    finally:
        os.umask(before)
    assert time.localtime(0).tm_hour == 0
    assert "LC_ALL" not in os.environ


def test_entries_are_made_anew_and_nothing_else_changes(tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("b")

    def state() -> dict[str, object]:
        return {
            path.relative_to(tmp_path).as_posix(): path.lstat().st_ino
            for path in tmp_path.rglob("*")
        }

    before = state()
    in_reverse(tmp_path)
    assert state() == before
