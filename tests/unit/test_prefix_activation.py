from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reespack.errors import InstallError
from reespack.prefix.activation import activated, neutral

if TYPE_CHECKING:
    from pathlib import Path


def prefix(path: Path, script: str = "") -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "conda-meta").mkdir()
    (path / "etc/conda/activate.d").mkdir(parents=True)
    (path / "etc/conda/activate.d/a.sh").write_text(script)
    state = {"version": 1, "env_vars": {"GREETING": "good day"}}
    (path / "conda-meta/state").write_text(json.dumps(state))
    return path


def test_scripts_and_variables_of_the_environment_take_effect(tmp_path: Path) -> None:
    env = prefix(tmp_path / "my env", "export SCRIPT=\"$CONDA_PREFIX\"$'\\n'second\necho noise\n")
    found = activated(env, {"PATH": "/usr/bin:/bin", "KEPT": "1"})
    assert found["SCRIPT"] == f"{env}\nsecond"
    assert found["GREETING"] == "good day"
    assert found["CONDA_PREFIX"] == found["CONDA_DEFAULT_ENV"] == str(env)
    assert found["PATH"] == f"{env}/bin:/usr/bin:/bin"
    assert found["KEPT"] == "1"


def test_a_script_that_gives_up_is_an_error_with_its_words(tmp_path: Path) -> None:
    env = prefix(tmp_path / "env", "echo broken >&2\nexit 3\n")
    with pytest.raises(InstallError, match=r"activation .*exit code 3") as caught:
        activated(env, {"PATH": "/usr/bin:/bin"})
    assert caught.value.detail == "broken"


def test_what_would_lead_out_of_the_environment_is_left_behind() -> None:
    foreign = {
        "PYTHONPATH": "/x",
        "PIP_USER": "1",
        "CONDA_PREFIX": "/base",
        "CONDA_PREFIX_1": "/base",
        "VIRTUAL_ENV": "/venv",
        "JUPYTER_CONFIG_DIR": "/home/me/.jupyter",
        "XDG_DATA_HOME": "/home/me/.local",
        "R_LIBS_USER": "/home/me/R",
    }
    kept = {"PIP_INDEX_URL": "https://host/simple", "HTTPS_PROXY": "p", "LC_ALL": "C", "CC": "gcc"}
    assert neutral({**foreign, **kept}) == kept
