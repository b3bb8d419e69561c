from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reespack.model import CondaRequirement, Origin
from reespack.prefix.conda_meta import CondaFile, conda_files, write_history, write_state

if TYPE_CHECKING:
    from pathlib import Path

RECORD = {
    "name": "tool",
    "version": "1.0",
    "build": "0",
    "channel": "https://example.org/forge/",
    "subdir": "noarch",
    "files": ["bin/tool", "share/tool", "share/untold"],
    "paths_data": {
        "paths": [
            {"_path": "bin/tool", "sha256": "before", "sha256_in_prefix": "after"},
            {"_path": "share/tool", "sha256": "only"},
        ]
    },
}


def prefix(tmp_path: Path) -> Path:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/tool-1.0-0.json").write_text(json.dumps(RECORD))
    return tmp_path


def test_files_belong_to_packages_with_the_digest_they_have_in_the_prefix(tmp_path: Path) -> None:
    assert conda_files(prefix(tmp_path)) == {
        "bin/tool": CondaFile(package="tool", sha256="after"),
        "share/tool": CondaFile(package="tool", sha256="only"),
        "share/untold": CondaFile(package="tool", sha256=None),
    }


def test_history_is_what_conda_reads(tmp_path: Path) -> None:
    origin = Origin(file="environment.yml", line=3)
    asked = [CondaRequirement(spec="tool  >=1", name="tool", origin=origin)]
    write_history(prefix(tmp_path), asked, when=1_700_000_000)
    assert (tmp_path / "conda-meta/history").read_text() == (
        "==> 2023-11-14 22:13:20 <==\n"
        "# cmd: reespack build\n"
        "+https://example.org/forge/noarch::tool-1.0-0\n"
        '# update specs: ["tool >=1"]\n'
    )


def test_variables_are_kept_as_conda_keeps_them(tmp_path: Path) -> None:
    write_state(prefix(tmp_path), (("A", "1"), ("B", 'q"uote')))
    assert json.loads((tmp_path / "conda-meta/state").read_text()) == {
        "version": 1,
        "env_vars": {"A": "1", "B": 'q"uote'},
    }


def test_no_variables_no_state(tmp_path: Path) -> None:
    write_state(prefix(tmp_path), ())
    assert not (tmp_path / "conda-meta/state").exists()
