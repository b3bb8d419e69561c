from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reespack.errors import PostBuildError
from reespack.package_index import PackageIndex
from reespack.prefix.editables import replace_editables
from reespack.prefix.wheels import WheelBuilder
from reespack.progress import QUIET

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import Note


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "env/lib/python3.12/site-packages"
    folder.mkdir(parents=True)
    return folder


def replaced(tmp_path: Path) -> list[Note]:
    # Nothing is built in these tests: a builder that was asked to would raise TypeError.
    builder = WheelBuilder.__new__(WheelBuilder)
    notes = replace_editables(
        tmp_path / "env", builder=builder, index=PackageIndex(), scratch=tmp_path, progress=QUIET
    )
    return list(notes)


def test_lines_of_pth_files_that_lead_out_are_named(tmp_path: Path, site: Path) -> None:
    (site / "mine.pth").write_text(f"import mine\n/somewhere/else\n{site}/below\nrelative\n")
    (note,) = replaced(tmp_path)
    assert "mine.pth" in note.message
    assert "/somewhere/else" in note.message


def test_an_editable_install_inside_the_environment_may_stay(tmp_path: Path, site: Path) -> None:
    metadata = site / "mine-1.0.dist-info"
    metadata.mkdir()
    url = (tmp_path / "env/src/mine").as_uri()
    said = {"url": url, "dir_info": {"editable": True}}
    (metadata / "direct_url.json").write_text(json.dumps(said))
    assert replaced(tmp_path) == []


@pytest.mark.parametrize("legacy", [False, True])
def test_one_whose_folder_is_gone_is_an_error(tmp_path: Path, site: Path, legacy: bool) -> None:
    gone = tmp_path / "gone"
    if legacy:
        (site / "My.Own.egg-link").write_text(f"{gone}/src\n..")
    else:
        (site / "my_own-1.0.dist-info").mkdir()
        said = {"url": gone.as_uri(), "dir_info": {"editable": True}}
        (site / "my_own-1.0.dist-info/direct_url.json").write_text(json.dumps(said))
    with pytest.raises(PostBuildError, match=f"my-own .* from {gone}, which is not there"):
        replaced(tmp_path)
