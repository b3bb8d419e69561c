from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reespack.errors import HashMismatchError, InstallError
from reespack.model import LockedConda
from reespack.prefix.package_cache import CachedPackages, local_archive, open_package_cache

NO_FLOCK = Path(__file__).parents[1] / "no_flock.c"


def package(sha256: str | None = "00" * 32, md5: str | None = None) -> LockedConda:
    return LockedConda(
        name="tool", version="1.0", build="0", url="file:///x", sha256=sha256, md5=md5
    )


@pytest.fixture
def cache(tmp_path: Path) -> CachedPackages:
    packages, notes = open_package_cache(tmp_path)
    assert notes == ()
    with packages.locked():
        pass
    index = packages.unpacked(package()) / "info" / "index.json"
    index.parent.mkdir(parents=True)
    index.write_text("{}")
    return packages


def test_a_package_counts_only_with_the_digest_it_was_confirmed_with(
    cache: CachedPackages,
) -> None:
    assert not cache.holds(package())
    cache.confirm(package())
    assert cache.holds(package())
    assert not cache.holds(package(sha256="11" * 32))
    assert not cache.holds(package(sha256=None, md5="00" * 16))


def test_a_forgotten_package_is_gone_with_all_its_notes(cache: CachedPackages) -> None:
    cache.confirm(package())
    (cache.folder / "tool-1.0-0.lock").write_bytes(b"rattler's")
    cache.forget(package())
    assert not cache.holds(package())
    assert [file.name for file in cache.folder.glob("tool*")] == []


def test_an_archive_here_is_checked_against_each_kind_of_digest(tmp_path: Path) -> None:
    archive = tmp_path / "a b.conda"
    archive.write_bytes(b"content")
    good = hashlib.sha256(b"content").hexdigest()
    md5 = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    assert local_archive(package(good), archive.as_uri()) == archive
    assert local_archive(package(None, md5), archive.as_uri()) == archive
    assert local_archive(package(), "https://example.org/a.conda") is None
    with pytest.raises(HashMismatchError, match=f"tool .* expected sha256 0000.* got {good}"):
        local_archive(package(), archive.as_uri())
    with pytest.raises(HashMismatchError, match=f"expected md5 1111.* got {md5}"):
        local_archive(package(None, "11" * 16), archive.as_uri())
    with pytest.raises(InstallError, match="cannot be read"):
        local_archive(package(), (tmp_path / "none.conda").as_uri())


def test_a_cache_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InstallError, match="cannot be written") as caught:
        open_package_cache(tmp_path / "file")
    assert "REESPACK_CACHE" in str(caught.value.hint)


@pytest.fixture
def no_flock(tmp_path: Path) -> dict[str, str]:
    """Return the variables under which nothing below `tmp_path`/lustre can be locked."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path / "no_flock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, NO_FLOCK, "-ldl"], check=True)
    (tmp_path / "lustre").mkdir()
    (tmp_path / "local").mkdir()
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "NO_FLOCK": str(tmp_path / "lustre"),
        "TMPDIR": str(tmp_path / "local"),
    }


def open_in_child(cache: Path, environ: dict[str, str]) -> str:
    code = (
        "import sys, pathlib\n"
        "from reespack.errors import InstallError\n"
        "from reespack.prefix.package_cache import open_package_cache\n"
        "try:\n"
        "    packages, notes = open_package_cache(pathlib.Path(sys.argv[1]))\n"
        "    with packages.locked():\n"
        "        print(packages.folder, *(note.message for note in notes), sep='\\n')\n"
        "except InstallError as error:\n"
        "    print(error.message)\n"
    )
    command = [sys.executable, "-c", code, str(cache)]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_without_flock_packages_are_kept_in_a_folder_of_the_users_own(
    tmp_path: Path, no_flock: dict[str, str]
) -> None:
    folder, note = open_in_child(tmp_path / "lustre/cache", no_flock).splitlines()
    assert Path(folder) == tmp_path / "local" / f"reespack-{os.getuid()}" / "packages"
    assert Path(folder).parent.stat().st_mode & 0o777 == 0o700
    assert "no locks (flock)" in note
    assert open_in_child(tmp_path / "local/cache", no_flock) == str(
        tmp_path / "local/cache/packages"
    )


def test_without_flock_anywhere_the_error_names_both_folders(
    tmp_path: Path, no_flock: dict[str, str]
) -> None:
    environ = {**no_flock, "TMPDIR": str(tmp_path / "lustre")}
    message = open_in_child(tmp_path / "lustre/cache", environ)
    assert message.startswith(f"neither {tmp_path}/lustre/cache/packages nor {tmp_path}/lustre/")
