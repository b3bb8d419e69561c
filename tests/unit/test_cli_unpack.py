"""`reespack unpack` without typer: plain words mean what typer would make of them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer

from reespack.cli import unpack
from reespack.cli.app import make_app
from reespack.cli.unpack import plain_words

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [
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
]


@pytest.mark.parametrize("text", WORDS)
def test_they_mean_what_typer_makes_of_them(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def note(archive: Path, folder: Path, **options: object) -> None:
        asked.append({"archive": archive, "folder": folder, **options})

    monkeypatch.setattr(unpack, "unpack", note)
    monkeypatch.setenv("REESPACK_TRACEBACK", "")  # which an option sets
    words = text.split()
    command = typer.main.get_command(make_app(["unpack"]))
    with contextlib.suppress(Exception):  # it does not take them
        command.main(["unpack", *words], prog_name="reespack", standalone_mode=False)
    plain = plain_words(words)
    if plain is not None:
        defaults = {"threads": None, "json": False, "verbose": False, "quiet": False}
        assert asked == [defaults | plain]


def test_usual_words_are_plain() -> None:
    assert [text for text in WORDS if plain_words(text.split()) is not None] == WORDS[:11]


def test_typer_is_not_imported(tmp_path: Path) -> None:
    program = """\
import sys
from reespack.cli import main
code = main(sys.argv[1:])
assert "typer" not in sys.modules
sys.exit(code)
"""
    words = [sys.executable, "-c", program, "unpack", tmp_path / "none.tar.zst", tmp_path / "x"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("error: ")
