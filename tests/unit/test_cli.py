from __future__ import annotations

import ast
import errno
import inspect
import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from reespack import pipeline
from reespack.cli import main
from reespack.cli.app import make_app
from reespack.cli.console import make_console
from reespack.cli.terminal import Style, flowed, plain, size, table, titled
from reespack.errors import LockError, UsageError
from reespack.products import Lock, PlatformLock
from reespack.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import typer

PLAIN = Style(enabled=False)


@pytest.fixture(autouse=True)
def _user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a user with an empty home, and put back what `main` sets."""
    for name in list(os.environ):
        if name.startswith(("REESPACK_", "CONDA", "XDG_")) or name in {"COLUMNS", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REESPACK_SITE_CONFIG", "")
    monkeypatch.setenv("REESPACK_TRACEBACK", "")
    handlers = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "environment.yml").write_text(
        "channels: [conda-forge]\ndependencies:\n  - python=3.11\n  - numpy\n", encoding="utf-8"
    )
    (folder / "requirements.txt").write_text("six\n", encoding="utf-8")
    return folder


def test_detect_says_why_and_what(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(repo)]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert ["environment.yml", "environment.yml", "used"] in [row[:3] for row in rows]
    assert ["requirements.txt", "requirements.txt", "ignored"] in [row[:3] for row in rows]
    assert ["numpy", "environment.yml:4"] in rows
    assert err == ""


def test_detect_as_json_is_one_document(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(repo), "--json", "--with", "server", "-p", "linux-aarch64"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["platform"] == "linux-aarch64"
    names = {one["name"] for one in document["spec"]["conda"]}
    assert {"numpy", "jupyterlab"} <= names


def test_a_refusal_comes_after_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    assert main(["detect", str(tmp_path / "r")]) == 23
    out, err = capsys.readouterr()
    assert "refused" in out
    assert err.startswith("error: ")
    assert main(["detect", str(tmp_path / "r"), "--json"]) == 23
    assert json.loads(capsys.readouterr().out)["spec"] is None


def test_detect_writes_nothing(repo: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["detect", str(repo)]) == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["detect", "no/where"], 10, "error: there is no folder no/where\nhint: "),
        (["detect"], 2, "error: missing argument"),
        (["detect", ".", "--nonsense"], 2, "--nonsense"),
        (["detekt"], 2, "detect"),
        (["detect", ".", "--apt", "eror"], 2, "error: --apt must be error, warn or ignore"),
        (["build", ".", "--format", "zip"], 2, "error: --format must be"),
        (["build", ".", "--with", "sever"], 2, "hint: did you mean --with server?"),
        (["build", ".", "--locked", "--update-lock"], 2, "contradict each other"),
        (["build", ".", "-v", "-q"], 2, "contradict each other"),
        (["build", ".", "--threads", "0"], 2, "error: --threads must be"),
        (["build", ".", "--timeout", "-3"], 2, "error: --timeout must be"),
        (["build", ".", "--channel-alias", "x"], 2, "error: --channel-alias must be"),
        (["lock", ".", "--update", "numpy"], 2, "error: --update needs a lockfile"),
        (["lock", ".", "-o", "-", "--json"], 2, "both want stdout"),
        (["inspect", "no.tar.zst"], 70, "error: no.tar.zst"),
        (["verify", "no.tar.zst"], 70, "error: no.tar.zst"),
        (["unpack", "no.tar.zst", "there"], 70, "error: no.tar.zst"),
    ],
)
def test_mistakes_are_one_line_and_a_code(  # noqa: PLR0913, PLR0917 - fixtures
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
    assert "Traceback" not in err


def raising(error: BaseException) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_an_error_is_line_hint_and_detail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = LockError("what happened", hint="what to do", detail="long\n\x1b[31mstory\x1b[0m\n")
    monkeypatch.setattr(pipeline, "build", raising(error))
    assert main(["build", "."]) == 40
    assert capsys.readouterr().err == ("error: what happened\nhint: what to do\n  long\n  story\n")


def test_a_bug_asks_to_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "build", raising(KeyError("oh")))
    assert main(["build", "."]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: internal error: KeyError: 'oh'\nhint: ")
    assert "Traceback" not in err
    assert main(["build", ".", "--traceback"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "make room"), (errno.EACCES, "choose folders")]
)
def test_what_the_machine_says_is_no_bug(
    number: int, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(number, os.strerror(number), "/data/x")
    monkeypatch.setattr(pipeline, "build", raising(error))
    assert main(["build", "."]) == 1
    said = f"error: {os.strerror(number)} (/data/x)\nhint: {hint}"
    assert capsys.readouterr().err.startswith(said)


def test_an_interrupt_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "build", raising(KeyboardInterrupt()))
    assert main(["build", "."]) == 130
    assert "interrupted" in capsys.readouterr().err


SLEEPER = """
import signal, sys, time
from reespack import pipeline
from reespack.cli import main
def build(*args, **more):
    try:
        print("ready", flush=True)
        time.sleep(600)
    finally:
        print("cleaned up", flush=True)
pipeline.build = build
sys.exit(main(["build", "."]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_clean_up(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert out == "cleaned up\n"
    assert "Traceback" not in err
    assert process.returncode == 128 + number


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "reespack", "config", "show"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_config_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "home" / ".config" / "reespack" / "reespack.toml"
    file.parent.mkdir(parents=True)
    file.write_text('channels = ["lab", "conda-forge"]\n', encoding="utf-8")
    assert main(["config", "show", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["settings"]
    found = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert found["channels"] == (["lab", "conda-forge"], f"{file}:1")
    assert main(["config", "show"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["channels", "lab", f"{file}:1"] in rows
    assert ["conda-forge"] in rows


def test_lock_updates_the_file_that_is_there(
    repo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, object]] = []

    def lock(_: object, **more: object) -> Lock:
        asked.append(more)
        pinned = PlatformLock(platform="linux-64", conda=())
        return Lock(text=f"number {len(asked)}\n", digest="0", platforms=(pinned,))

    monkeypatch.setattr(pipeline, "lock", lock)
    file = tmp_path / "x.yml"
    assert main(["lock", str(repo), "-o", str(file), "-p", "linux-64", "-p", "osx-64"]) == 0
    assert main(["lock", str(repo), "-o", str(file), "--update", "numpy", "--update", "six"]) == 0
    assert [(one["previous"], one["platforms"], one["update"]) for one in asked] == [
        (None, ("linux-64", "osx-64"), ()),
        (file, (), ("numpy", "six")),
    ]
    assert file.read_text(encoding="utf-8") == "number 2\n"
    assert capsys.readouterr().out.count(f"{file}: 0 conda packages for linux-64\n") == 2
    assert main(["lock", str(repo), "-o", "-"]) == 0
    assert capsys.readouterr().out == "number 3\n"
    assert main(["lock", str(repo), "-o", str(tmp_path / "no" / "where")]) == 40
    assert "cannot be written" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"reespack {VERSION}\n"
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in ("detect", "lock", "build", "unpack", "inspect", "verify", "channel", "config"):
        assert f"  {name} " in out
    assert "..." not in out.partition("Commands:")[2]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from reespack.cli import main; main(['--help']);"
        "heavy = {'rich', 'rattler', 'conda_lock', 'conda_pack', 'zstandard', 'ruamel', 'uv'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert ended.stderr == b""


OPTIONS = {
    "detect": ["--json", "--ref", "--subdir"],
    "lock": ["--platform", "-p", "--output", "-o", "--update", "--ref", "--subdir"],
    "build": [
        *("-o", "--output", "--name", "--format", "--locked", "--channel", "--channel-alias"),
        *("--offline", "--with", "--apt", "--allow-empty", "--json", "--timeout", "--update-lock"),
    ],
    "inspect": ["--json"],
    "channel create": ["--python", "-r", "--alias"],
    "config show": ["--json"],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_options_are_spelled_as_promised(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(OPTIONS[command]) <= set(words)


def test_no_option_is_parsed_and_ignored() -> None:
    def callbacks(node: typer.Typer) -> Iterator[object]:
        yield from (one.callback for one in node.registered_commands)
        for group in node.registered_groups:
            if group.typer_instance is not None:
                yield from callbacks(group.typer_instance)

    found = list(callbacks(make_app()))
    assert len(found) >= 8
    for callback in found:
        assert callable(callback)
        tree = ast.parse(textwrap.dedent(inspect.getsource(callback)))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        wanted = {name for name in inspect.signature(callback).parameters if name[0] != "_"}
        assert wanted <= used


def test_what_each_loudness_says(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, quiet in ((False, False), (True, False), (False, True)):
        console = make_console(verbose=verbose, quiet=quiet)
        console.step("/a/path is solved")
        console.detail("more")
        console.warn("careful", hint="this way")
        console.output("\x1b[1mof postBuild\x1b[0m\r")
        with console.task("downloading", total=3) as advance:
            advance(1)
        out, err = capsys.readouterr()
        assert out == ""
        warning = "warning: careful\n   hint: this way\n"
        expected = {
            (False, False): f"/a/path is solved\n{warning}  | of postBuild\nDownloading\n",
            (True, False): f"/a/path is solved\n  more\n{warning}  | of postBuild\nDownloading\n",
            (False, True): warning,
        }
        assert err == expected[verbose, quiet]
    with pytest.raises(UsageError):
        make_console(verbose=True, quiet=True)


BARS = """
from reespack.cli.console import make_console
console = make_console()
with console.task("downloading", total=2_000_000, unit="bytes") as advance:
    advance(1_000_000)
    console._bars.refresh()
    console.step("so long that it is wider than the eighty columns that this terminal has got")
    with console.task("linking") as other:
        other(3, total=4)
        console._bars.refresh()
console.step("done")
"""


@pytest.mark.parametrize("no_color", [True, False])
def test_bars_on_a_terminal(no_color: bool) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    if no_color:
        environ["NO_COLOR"] = "1"
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen([sys.executable, "-c", BARS], stderr=theirs, env=environ)
        os.close(theirs)
        shown = b""
        try:
            while piece := screen.read(4096):
                shown += piece
        except OSError:  # how Linux says that nobody writes any more
            pass
        assert process.wait() == 0
    text = shown.decode()
    assert "1.0 MB / 2.0 MB" in text
    assert "3 / 4" in text
    assert "eighty columns that this terminal has got" in text  # not broken in two
    assert ("\x1b[1;32m*" in text or "\x1b[32;1m*" in text) is not no_color
    assert text.rstrip().endswith("Done")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (999_600, "1.0 MB"),
        (5_300_000_000, "5.3 GB"),
        (5_300_000_000_000, "5300 GB"),
    ],
)
def test_sizes_have_three_digits(number: int, text: str) -> None:
    assert size(number) == text


def test_tables_are_aligned_and_stay_within_the_width() -> None:
    rows = [("a", "bb", "word " * 20), ("aaa", "b", "short")]
    lines = table(rows, style=PLAIN, header=("X", "Y", "Z"), width=40)
    assert lines[0] == "X    Y   Z"
    assert all(len(line) <= 40 for line in lines)
    assert {line.index("w") for line in lines if "word" in line} == {9}
    assert lines[-1] == "aaa  b   short"
    assert len(table(rows, style=PLAIN)) == 2
    assert table([], style=PLAIN, header=("X",)) == []


def test_only_the_last_state_of_a_redrawn_line_is_kept() -> None:
    assert plain("10%\r50%\r100%\r") == "100%"
    assert plain("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b[2Kok\x07") == "link ok"


def test_python_is_not_taken_apart_under_rattlers_threads() -> None:
    code = """
import sys
from reespack.cli import main
class Witness:
    def __del__(self): print("taken apart")
witness = Witness()
sys.argv[1:] = ["detect", "--no-such-option"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no-such-option" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("first", ["build", "cache", "nothing", "--help"])
def test_only_what_was_typed_is_loaded(first: str) -> None:
    names = {group.name for group in make_app([first]).registered_groups}
    names |= {command.name for command in make_app([first]).registered_commands}
    assert names == {first} if first in {"build", "cache"} else len(names) > 15


@pytest.mark.parametrize("words", [[], ["config"]])
def test_no_command_shows_the_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: reespack")
    assert "error" not in said


def test_a_platform_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    assert main(["detect", str(tmp_path), "-p", "osx-arm46"]) == 2
    assert "did you mean osx-arm64?" in capsys.readouterr().err


def test_long_lines_are_broken_at_words_on_a_terminal() -> None:
    line = "  see /a/very/long/path/that/nobody/would/like/to/see/broken for more of this"
    assert flowed(line, width=None) == [line]
    assert flowed(line, width=30) == [
        "  see",
        "    /a/very/long/path/that/nobody/would/like/to/see/broken",
        "    for more of this",
    ]
    style = Style(enabled=True)
    title = style("error:", "red")
    assert titled(title, "error:", "this is not so", width=14) == [f"{title} this is", "  not so"]
