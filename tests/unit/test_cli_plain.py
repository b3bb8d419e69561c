"""Words as most people type them, without typer: they mean what typer would make of them."""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from reespack.cli import build, detect, unpack
from reespack.cli.app import make_app

PLAIN = {
    "unpack": [
        "a f",
        "--quiet a f",
        "a -q f",
        "a f --json",
        "a f -v",
        "a f --verbose --verbose",
        "--threads 3 a f",
        "a --threads 3 f --threads 04",
        "-- a f",
        "--json -- -a --json",
        "a -- --threads",
    ],
    "build": [
        "r",
        "r -o d --output e",
        "--json --quiet --verbose r",
        "r --name n --format tar.gz --ref main --subdir s --threads 2",
        "r --allow-empty --offline --locked",
        "r --update-lock --check-reproducible --self-extracting -q -v",
        "-- -r",
    ],
    "detect": [
        "r",
        "r -p linux-64 --platform osx-arm64",
        "--json -q -v r --ref main --subdir s",
        "r --allow-empty --offline",
    ],
}
OTHER = {
    "unpack": [
        "a --",
        "a f --threads",
        "a f --threads=3",
        "a f --threads -1",
        "a f --threads x",
        "a f --threads 3.0",
        "a f --thread 3",
        "a f -qv",
        "a f --help",
        "a f --traceback",
        "a f --no-json",
        "a - --json",
        "a",
        "",
        "a f g",
    ],
    "build": [
        "",
        "r s",
        "r --output",
        "r --output=d",
        "r -od",
        "r --name -n",
        "r --channel c",
        "r --timeout 3",
        "r --with server",
        "r --help",
        "r --lock",
    ],
    "detect": ["", "r s", "r -p", "r -plinux-64", "r --channel c", "r --apt warn", "r --help"],
}
MODULES = {"unpack": unpack, "build": build, "detect": detect}


def each(texts: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(command, text) for command, several in texts.items() for text in several]


@pytest.mark.parametrize(("command", "text"), each(PLAIN))
def test_they_mean_what_typer_makes_of_them(
    command: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = MODULES[command].plain_words(text.split())
    assert plain is not None
    expected = defaults(command) | plain
    assert asked_by_typer(command, text, monkeypatch) == [expected]


@pytest.mark.parametrize(
    ("command", "more", "values"),
    [
        ("detect", "", {}),
        (
            "build",
            " --channel-alias a=b --timeout 3",
            {"channel_alias": ["a=b"], "timeout": 3.0},
        ),
    ],
)
def test_typer_hands_on_all_other_options(
    command: str, more: str, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "r --channel c --with server --apt warn --apt-table t --default-python 3.11"
    others = {
        "source": "r",
        "channels": ["c"],
        "extras": ["server"],
        "apt": "warn",
        "apt_table": Path("t"),
        "default_python": "3.11",
    }
    expected = defaults(command) | others | values
    assert asked_by_typer(command, text + more, monkeypatch) == [expected]


@pytest.mark.parametrize(("command", "text"), each(OTHER))
def test_all_else_is_left_to_typer(command: str, text: str) -> None:
    assert MODULES[command].plain_words(text.split()) is None


def asked_by_typer(
    command: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """Return what typer calls the command with."""
    asked: list[dict[str, Any]] = []
    run = inspect.signature(getattr(MODULES[command], command))

    def note(*values: object, **options: object) -> None:
        asked.append(dict(run.bind(*values, **options).arguments))

    monkeypatch.setattr(MODULES[command], command, note)
    program = typer.main.get_command(make_app([command]))
    with contextlib.suppress(SystemExit):
        program.main([command, *text.split()], prog_name="reespack", standalone_mode=False)
    return asked


def defaults(command: str) -> dict[str, Any]:
    """Return the parameters of a command that have a value of their own."""
    named = inspect.signature(getattr(MODULES[command], command)).parameters.items()
    return {name: one.default for name, one in named if one.default is not inspect.Parameter.empty}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["unpack", "none.tar.zst", "x"], 70),
        (["build", "none"], 10),
        (["detect", "none"], 10),
    ],
)
def test_typer_is_not_imported(words: list[str], code: int, tmp_path: Path) -> None:
    program = """\
import sys
from reespack.cli import main
code = main(sys.argv[1:])
assert "typer" not in sys.modules
sys.exit(code)
"""
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
