from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reespack.catalog import Entry
from reespack.hub.offers import Offer, offers_of

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = Entry(
    name="ice",
    title="Sea ice",
    description="",
    archive=None,
    source=None,
    groups=(),
    resources=(),
    variables=(),
    prologue="",
)
ALL = ("Duo", "duo-ir", "python3", "ir")
TITLES = {"Duo": "Duo (Python 3)", "duo-ir": "Duo (R)", "python3": "Python 3", "ir": "R"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "duo.kernelspec").mkdir()
    (tmp_path / "duo.kernelspec/launch.sh").touch()
    for form in ("tar.zst", "squashfs", "run.sh"):
        (tmp_path / f"duo.{form}").touch()
    return tmp_path


def put_manifest(folder: Path, *names: str) -> None:
    kernels = [
        {
            "name": name.lower(),
            "display_name": TITLES[name],
            "language": "R" if "ir" in name else "python",
            "path": f"share/jupyter/kernels/{name.lower()}",
        }
        for name in names
    ]
    content = {"name": "Duo", "kernelspecs": kernels}
    (folder / "duo.manifest.json").write_text(json.dumps(content))


def told(offers: tuple[Offer, ...]) -> list[tuple[str, str, str, str]]:
    return [(one.name, one.title, one.language, one.kernel) for one in offers]


@pytest.mark.parametrize("form", ["tar.zst", "squashfs"])
def test_each_kernel_is_offered_once_and_the_first_as_its_folder_says(
    folder: Path, form: str
) -> None:
    put_manifest(folder, *ALL)
    offers = offers_of(ENTRY, folder / f"duo.{form}")
    assert told(offers) == [
        ("", "Sea ice (Python 3)", "python", ""),
        ("ir", "Sea ice (R)", "R", "duo-ir"),
    ]
    assert {offer.launcher for offer in offers} == {folder / "duo.kernelspec/launch.sh"}
    assert offers[0].folder == folder / "duo.kernelspec"
    assert not offers[1].folder.exists()  # no other kernel's logos


def test_a_self_extracting_archive_starts_them_itself(folder: Path) -> None:
    put_manifest(folder, *ALL)
    offers = offers_of(ENTRY, folder / "duo.run.sh")
    assert [offer.kernel for offer in offers] == ["duo", "duo-ir"]
    assert {offer.launcher for offer in offers} == {folder / "duo.run.sh"}


def test_a_single_kernel_bears_the_entrys_title(folder: Path) -> None:
    put_manifest(folder, "Duo", "python3")
    assert told(offers_of(ENTRY, folder / "duo.tar.zst")) == [("", "Sea ice", "python", "")]


def test_what_lies_beside_may_be_missing_or_broken(folder: Path) -> None:
    first = [("", "Sea ice", "", "")]
    assert told(offers_of(ENTRY, folder / "duo.tar.zst")) == first
    for broken in ("{", "[]", '{"name": "duo", "kernelspecs": [{}]}'):
        (folder / "duo.manifest.json").write_text(broken)
        assert told(offers_of(ENTRY, folder / "duo.tar.zst")) == first
        assert offers_of(ENTRY, folder / "duo.run.sh") == ()
    (folder / "duo.kernelspec/launch.sh").unlink()
    assert offers_of(ENTRY, folder / "duo.tar.zst") == ()
