from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.site_packages import python_folders, site_packages

if TYPE_CHECKING:
    from pathlib import Path


def test_a_prefix_without_python_has_none(tmp_path: Path) -> None:
    assert python_folders(tmp_path) == ()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/python3.txt").touch()
    assert python_folders(tmp_path) == site_packages(tmp_path) == ()


def test_the_link_for_old_condas_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "lib/python3.12"
    (folder / "site-packages").mkdir(parents=True)
    (tmp_path / "lib/python3.1").symlink_to("python3.12")
    assert python_folders(tmp_path) == (folder,)
    assert site_packages(tmp_path) == (folder / "site-packages",)


def test_a_library_may_have_no_site_packages(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.13").mkdir(parents=True)
    (tmp_path / "lib/python3.13t/site-packages").mkdir(parents=True)
    assert [path.name for path in python_folders(tmp_path)] == ["python3.13", "python3.13t"]
    assert site_packages(tmp_path) == (tmp_path / "lib/python3.13t/site-packages",)
