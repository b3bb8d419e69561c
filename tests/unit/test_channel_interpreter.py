from __future__ import annotations

import json
import platform
import sys
import venv
from pathlib import Path

import pytest

from reespack.channel.interpreter import find_interpreter, inspect_interpreter
from reespack.errors import UsageError

FACTS = {
    "implementation": "cpython",
    "version": "3.11.2",
    "prefix": "/usr",
    "exec_prefix": "/usr",
    "built_for": ["/usr", "/usr"],
    "built_in": [None, None],
    "purelib": "/usr/lib/python3.11/site-packages",
    "threads": True,
    "machine": "x86_64",
    "system": "linux",
    "markers": {},
}


def pretend(folder: Path, **facts: object) -> Path:
    """An interpreter that answers with these facts."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({**FACTS, **facts})}\nEND\n")
    program.chmod(0o755)
    return program


def test_without_a_request_it_is_the_one_that_runs_here() -> None:
    found = find_interpreter()
    assert found.version == platform.python_version()
    assert found.prefix == Path(sys.base_prefix).resolve()
    assert found.stdlib.joinpath("os.py").is_file()
    assert str(found.prefix) in found.former_prefixes


@pytest.mark.parametrize("parts", [2, 3])
def test_a_version_is_found(parts: int) -> None:
    request = ".".join(platform.python_version().split(".")[:parts])
    assert find_interpreter(request).version.startswith(request)


def test_an_environment_stands_for_its_base(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    found = find_interpreter(str(tmp_path / "env" / "bin" / "python"))
    assert found == find_interpreter()


def test_the_system_python_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belongs to the system") as caught:
        inspect_interpreter(pretend(tmp_path))
    assert "pyenv" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"implementation": "pypy"}, "not a standard CPython"),
        ({"threads": False}, "not a standard CPython"),
        ({"machine": "riscv64"}, "riscv64"),
        ({"system": "darwin"}, "darwin"),
        ({"purelib": "/opt/x/lib/python3/dist-packages", "prefix": "/opt/x"}, "belongs to the"),
        ({"prefix": "/nowhere"}, "has no /nowhere/bin/python3.11"),
    ],
)
def test_what_cannot_travel_is_refused(
    tmp_path: Path, facts: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        inspect_interpreter(pretend(tmp_path, **facts))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("3.99", "no CPython 3.99"),
        ("2.7", "not a Python version"),
        ("three", "not a Python version"),
        ("/no/such/python", "is not an interpreter"),
        ("/bin/false", "is not an interpreter"),
    ],
)
def test_a_request_that_nothing_meets(request_: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        find_interpreter(request_)
    assert caught.value.hint
