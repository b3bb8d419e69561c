from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from reespack.errors import ConfigError, HashMismatchError, InstallError
from reespack.prefix.package_cache import CachedPackages, local_archive, open_package_cache
from reespack.products import LockedConda
from reespack.progress import QUIET
from reespack.store import Cache

if TYPE_CHECKING:
    from pathlib import Path


def package(sha256: str | None = "00" * 32, md5: str | None = None) -> LockedConda:
    return LockedConda(
        name="tool", version="1.0", build="0", url="file:///x", sha256=sha256, md5=md5
    )


@pytest.fixture
def cache(tmp_path: Path) -> CachedPackages:
    packages = open_package_cache(Cache(tmp_path))
    with packages.locked(QUIET):
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
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        open_package_cache(Cache(tmp_path / "file"))
    assert "REESPACK_CACHE" in str(caught.value.hint)


def test_what_the_cache_below_has_is_not_fetched(cache: CachedPackages, tmp_path: Path) -> None:
    cache.confirm(package())
    above = open_package_cache(Cache(tmp_path / "own", below=cache.cache.root))
    assert above.holds(package())
    assert above.unpacked(package()) == cache.unpacked(package())
    assert not above.holds(package(sha256="11" * 32))
    # Another package of the same name comes into the cache of one's own, and hides that one.
    assert above.unpacked(package(sha256="11" * 32)).parent == above.folder
    above.unpacked(package(sha256="11" * 32)).mkdir()
    assert not above.holds(package())
    above.forget(package())
    assert cache.holds(package())


def test_a_view_leads_to_packages_and_leaves_them_as_they_are(
    cache: CachedPackages, tmp_path: Path
) -> None:
    cache.confirm(package())
    there = cache.unpacked(package())
    there.chmod(0o555)
    above = open_package_cache(Cache(tmp_path / "own", below=cache.cache.root))
    with above.for_rattler([package()]) as found:
        view, own = found.layers()
        assert view.is_readonly()
        assert (view.path / there.name).samefile(there)
        assert own.path == above.folder
    assert there.stat().st_mode & 0o777 == 0o555
    assert list(above.folder.iterdir()) == []
    there.chmod(0o755)
