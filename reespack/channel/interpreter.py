"""Finding the CPythons of this machine that can be turned into packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.errors import UsageError
from reespack.package_index import PackageIndex
from reespack.uv import run_uv
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Interpreter", "find_interpreter", "inspect_interpreter"]

_HINT = (
    "name one that has a folder of its own: from pyenv, uv (uv python install), python.org, "
    "conda, or a container image's /usr/local; --python also takes the path of an interpreter"
)

_QUESTIONS = """\
import json, os, platform, sys, sysconfig
variables = sysconfig.get_config_vars()
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": platform.python_version(),
    "prefix": sys.base_prefix,
    "exec_prefix": sys.base_exec_prefix,
    "built_for": [variables.get("prefix"), variables.get("exec_prefix")],
    "purelib": sysconfig.get_path("purelib", vars={"base": sys.base_prefix}),
    "built_in": [variables.get("abs_builddir"), variables.get("abs_srcdir")],
    "threads": not variables.get("Py_GIL_DISABLED"),
    "machine": platform.machine(),
    "system": sys.platform,
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": "",
        "platform_system": platform.system(),
        "platform_version": "",
        "python_full_version": platform.python_version(),
        "python_version": "%d.%d" % sys.version_info[:2],
        "sys_platform": sys.platform,
    },
}))
"""

_SUBDIRS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}


class Interpreter(Value):
    """A CPython with a prefix of its own.

    `executable` lies in `prefix`; `former_prefixes` are all the paths under which its files may
    know that folder, `build_folders` those it was compiled in; `subdir` is conda's name for the
    platform; `markers` are PEP 508's.
    """

    executable: Path
    prefix: Path
    former_prefixes: tuple[str, ...]
    build_folders: tuple[str, ...]
    stdlib: Path
    version: str
    subdir: str
    markers: tuple[tuple[str, str], ...]

    @property
    def minor(self) -> str:
        """The version's first two numbers: `3.12`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def tag(self) -> str:
        """The minor version without its dot: `312`."""
        return self.minor.replace(".", "")


def find_interpreter(request: str | None = None) -> Interpreter:
    """Find the interpreter for `3.12`, `3.12.1`, a path, or (None) the one that runs this.

    An interpreter of a virtual environment stands for the one that made it. Raises `UsageError`
    when there is none, or none with a prefix of its own (as Debian's /usr/bin/python3).
    """
    if request is None:
        return inspect_interpreter(Path(sys.executable))
    if "/" in request:
        return inspect_interpreter(Path(request).expanduser())
    if not re.fullmatch(r"3(\.\d+){1,2}((a|b|rc)\d+)?", request):
        raise UsageError(
            f"not a Python version: {request!r}", hint="write --python 3.12, or a path"
        )
    refused: UsageError | None = None
    for candidate in dict.fromkeys(_candidates(request)):
        try:
            found = inspect_interpreter(candidate)
        except UsageError as error:
            refused = refused or error
            continue
        if found.version == request or found.version.startswith(f"{request}."):
            return found
    if refused is not None:
        raise refused
    raise UsageError(
        f"no CPython {request} is on this machine",
        hint=f"install one (uv python install {request}, pyenv install {request}), or leave out "
        f"--python to use {sys.version_info[0]}.{sys.version_info[1]}",
    )


def inspect_interpreter(executable: Path) -> Interpreter:
    """Ask an interpreter for what a package of it needs to know; `UsageError` when it is unfit."""
    facts = _ask(executable)
    version = facts["version"]
    prefix = Path(facts["prefix"]).resolve()
    subdir = _SUBDIRS.get(facts["machine"]) if facts["system"] == "linux" else None
    if facts["implementation"] != "cpython" or not facts["threads"]:
        raise UsageError(f"{executable} is not a standard CPython", hint=_HINT)
    if subdir is None:
        raise UsageError(
            f"{executable} is built for {facts['system']} on {facts['machine']}",
            hint="a channel can be made on Linux, x86-64 or aarch64",
        )
    # Debian's puts packages into dist-packages, wherever it is copied to.
    if prefix in {Path("/usr"), Path("/")} or "dist-packages" in facts["purelib"]:
        raise UsageError(
            f"{executable} (Python {version}) belongs to the system: its prefix is {prefix}",
            hint=_HINT,
        )
    minor = ".".join(version.split(".")[:2])
    program = prefix / "bin" / f"python{minor}"
    stdlib = prefix / "lib" / f"python{minor}"
    for path in (program, stdlib / "os.py"):
        if not path.is_file():
            raise UsageError(f"{executable} (Python {version}) has no {path}", hint=_HINT)
    former = (facts["prefix"], facts["exec_prefix"], str(prefix), *facts["built_for"])
    return Interpreter(
        executable=program,
        prefix=prefix,
        former_prefixes=_folders(former),
        build_folders=_folders(facts["built_in"]),
        stdlib=stdlib,
        version=version,
        subdir=subdir,
        markers=tuple(sorted(facts["markers"].items())),
    )


def _folders(paths: Iterable[str | None]) -> tuple[str, ...]:
    """Absolute folders, the longest first, without those that are everybody's."""
    own = {path for path in paths if path and path.startswith("/")} - {"/", "/usr"}
    return tuple(sorted(own, key=lambda path: (-len(path), path)))


def _ask(executable: Path) -> dict[str, Any]:
    try:
        answer = subprocess.run(
            [str(executable), "-I", "-c", _QUESTIONS],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        facts: dict[str, Any] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UsageError(
            f"{executable} is not an interpreter that runs: {error}",
            hint=_HINT,
            detail=getattr(error, "stderr", None),
        ) from error
    return facts


def _candidates(request: str) -> Iterator[Path]:
    if request == ".".join(map(str, sys.version_info[: request.count(".") + 1])):
        yield Path(sys.executable)
    arguments = ["--no-config", "--no-project"]
    # --system: an environment that happens to be active is not what somebody asks for by number.
    yield from map(Path, _uv("python", "find", "--system", *arguments, request).splitlines()[:1])
    listing = _uv(
        "python", "list", *arguments, "--all-versions", "--output-format", "json", request
    )
    for row in json.loads(listing or "[]"):
        if row.get("path"):
            yield Path(row["path"])
    yield from _unlisted(request)


def _unlisted(request: str) -> Iterable[Path]:
    """Versions that pyenv keeps; uv sees only those that pyenv's shims are set to."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [
        folder / "bin" / "python"
        for folder in (root / "versions").glob(f"{request}*")
        if (folder / "bin" / "python").is_file()
    ]
    return sorted(found, key=_release, reverse=True)


def _release(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.parent.parent.name))


def _uv(*arguments: str) -> str:
    outcome = run_uv(arguments, index=PackageIndex(offline=True))
    return outcome.stdout.strip() if outcome.ok else ""
