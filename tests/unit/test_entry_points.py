from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from reespack.entry_points import EntryPoint, entry_points
from reespack.errors import BuildpackError

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "reespack.tests"
POINTS = f"[console_scripts]\nrun = thing:main\n\n[{GROUP}]\n# a note\nA.b = thing.deep:One.two\n"


def distribution(
    folder: Path,
    name: str = "some_Thing",
    version: str = "1.5",
    *,
    points: str = POINTS,
    kind: str = "dist-info",
) -> None:
    described = folder / f"{name}-{version}.{kind}"
    described.mkdir(parents=True)
    (described / "entry_points.txt").write_text(points)
    fields = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: of its text\n"
    (described / {"dist-info": "METADATA", "egg-info": "PKG-INFO"}[kind]).write_text(fields)


def known_to_the_standard_library(group: str) -> set[EntryPoint]:
    return {
        EntryPoint(name=one.name, value=one.value, distribution=d.name, version=d.version)
        for d in metadata.distributions()
        for one in d.entry_points
        if one.group == group
    }


@pytest.mark.parametrize(
    "group", sorted({one.group for d in metadata.distributions() for one in d.entry_points})
)
def test_what_is_installed_here_is_what_importlib_finds(group: str) -> None:
    found = entry_points(group)
    assert set(found) == known_to_the_standard_library(group)
    assert found


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
def test_name_version_and_value_come_from_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    distribution(tmp_path, kind=kind)
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = entry_points(GROUP)
    assert found == EntryPoint(
        name="A.b", value="thing.deep:One.two", distribution="some_Thing", version="1.5"
    )
    assert {found} == known_to_the_standard_library(GROUP)


def test_the_first_of_two_copies_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path / "later", "some_thing", "1.0")
    distribution(tmp_path / "first", "Some.Thing", "2.0")
    distribution(tmp_path / "last", "some_thing", "3.0", points="[other]\n")
    for folder in ("last", "later", "first"):
        monkeypatch.syspath_prepend(tmp_path / folder)
    assert [one.version for one in entry_points(GROUP)] == ["2.0"]


def test_a_zip_file_on_the_path_is_asked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in (tmp_path / "folder").rglob("*"):
            archive.write(file, file.relative_to(tmp_path / "folder"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "all.zip")])
    (found,) = entry_points(GROUP)
    assert (found.distribution, found.version) == ("some_Thing", "1.5")


def test_an_attribute_of_an_attribute_is_loaded() -> None:
    point = EntryPoint(
        name="x", value="collections.abc : Mapping.get [extra]", distribution="d", version="1"
    )
    from collections.abc import Mapping

    assert point.load() is Mapping.get


def test_a_broken_file_names_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, points=f"[{GROUP}]\nno value\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BuildpackError, match="entry points of some_Thing cannot be read") as caught:
        entry_points(GROUP)
    assert "\n" not in caught.value.message
    assert caught.value.hint == "reinstall or uninstall some_Thing"


def test_what_is_no_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path / "gone")
    (tmp_path / "x-1.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert entry_points(GROUP) == ()
