from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reespack.config import load_settings
from reespack.errors import ConfigError
from reespack.some_settings import load_some_settings, load_threads

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("threads", "store", "store_order", "shared_store", "mount", "timeout")


def all_settings(environ: dict[str, str]) -> dict[str, object]:
    settings = load_settings(environ=environ)
    return {name: getattr(settings, name) for name in NAMES}


@pytest.mark.parametrize(
    ("site", "user", "variables"),
    [
        ("", "", {}),
        ("threads = 3\nstore = 'a'\n", "threads = 5\n", {}),
        ("threads = 3\n", "threads = 5\n", {"REESPACK_THREADS": "7", "REESPACK_TIMEOUT": "1.5"}),
        ("mount = true\n", "shared_store = '/s'\n", {"REESPACK_MOUNT": "false"}),
        ("", "", {"REESPACK_STORE": "~/x", "REESPACK_STORE_ORDER": "TMPDIR,tmp"}),
    ],
)
def test_they_are_what_all_settings_say(
    tmp_path: Path, site: str, user: str, variables: dict[str, str]
) -> None:
    environ = {"HOME": str(tmp_path), **variables}
    for name, text in (("REESPACK_SITE_CONFIG", site), ("REESPACK_CONFIG", user)):
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        environ[name] = str(file) if text else ""
    some = load_some_settings(NAMES, environ)
    expected = all_settings(environ)
    assert {name: expected[name] for name in some} == some
    absent = all_settings(
        {"HOME": str(tmp_path), "REESPACK_CONFIG": "", "REESPACK_SITE_CONFIG": ""}
    )
    assert all(expected[name] == absent[name] for name in NAMES if name not in some)


def test_threads_are_the_flag_else_the_setting_else_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REESPACK_THREADS", "5")
    assert load_threads(3) == 3
    assert load_threads(None) == 5
    monkeypatch.delenv("REESPACK_THREADS")
    assert load_threads(None) == load_settings().threads


@pytest.mark.parametrize("flag", [0, -1])
def test_a_flag_that_is_no_count_is_an_error(flag: int) -> None:
    with pytest.raises(ConfigError, match="--threads must be a whole number of at least 1"):
        load_threads(flag)


def test_a_wrong_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REESPACK_THREADS", "many")
    with pytest.raises(ConfigError, match="REESPACK_THREADS must be a whole number"):
        load_threads(None)


def test_where_there_is_no_file_the_reader_of_files_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from reespack.some_settings import load_threads; load_threads(None); "
        "print('reespack.config' in sys.modules)"
    )
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
