"""Which wheels meet the requirements: uv's choice, for one interpreter."""

from __future__ import annotations

import re
import tempfile
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from reespack import toml
from reespack.errors import (
    ChannelError,
    LockError,
    MalformedFileError,
    ReespackError,
    UnsatisfiableError,
    UsageError,
)
from reespack.uv import run_uv
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reespack.channel.interpreter import Interpreter
    from reespack.package_index import PackageIndex

__all__ = ["Wheel", "check_requirements", "closure"]

_NO_WHEEL_HINT = (
    "build one on this machine (pip wheel -w FOLDER NAME) and name its folder in UV_FIND_LINKS"
)


class Wheel(Value):
    """A wheel of the index: normalised name, PEP 440 version, where it is, its sha256.

    `sha256` is empty where the index tells none.
    """

    name: str
    version: str
    url: str
    sha256: str
    tags: frozenset[Tag]

    @property
    def file_name(self) -> str:
        """The file's name, as the index gives it."""
        return _file_name(self.url)

    @property
    def pure(self) -> bool:
        """Whether it serves every platform and any Python 3."""
        return any(
            (tag.interpreter, tag.abi, tag.platform) == ("py3", "none", "any") for tag in self.tags
        )


def _file_name(url: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])


def check_requirements(requirements: Iterable[str], files: Iterable[Path]) -> None:
    """Raise `UsageError` for what is no requirement, and for a file that is not there."""
    for text in requirements:
        if (reason := _unreadable(text)) is not None:
            raise UsageError(
                f"not a requirement: {text!r}",
                hint="write it as pip takes it: numpy, 'numpy>=2', 'requests[socks]==2.32.*'",
                detail=reason,
            )
    for path in files:
        if not path.is_file():
            raise UsageError(f"no such requirements file: {path}")


def _unreadable(text: str) -> str | None:
    try:
        Requirement(text)
    except InvalidRequirement as error:
        return str(error)
    return None


def closure(
    interpreter: Interpreter,
    requirements: Sequence[str],
    files: Sequence[Path],
    *,
    index: PackageIndex,
) -> tuple[Wheel, ...]:
    """Return the wheels that uv chooses, one per distribution, in order of name.

    Raises `UnsatisfiableError` with uv's explanation when no wheels meet the requirements,
    `MalformedFileError` for a requirements file that it cannot read, `ChannelError` when the index
    cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="reespack-wheels-") as scratch:
        listed = Path(scratch, "requirements")
        listed.write_text("".join(f"{requirement}\n" for requirement in requirements))
        outcome = run_uv(
            [
                *("pip", "compile", "--quiet", "--no-header", "--only-binary", ":all:"),
                *("--format", "pylock.toml", "--python", interpreter.executable),
                *(listed, *(path.absolute() for path in files)),
            ],
            index=index,
        )
    if not outcome.ok:
        raise _explained(outcome.tail, interpreter)
    order = {tag: position for position, tag in enumerate(_tags(interpreter))}
    rows = toml.loads(outcome.stdout).get("packages", [])
    return tuple(_choose(row, order, interpreter) for row in sorted(rows, key=lambda r: r["name"]))


def _explained(tail: Sequence[str], interpreter: Interpreter) -> ReespackError:
    """Say what uv's last words mean."""
    lines = [line for line in tail if not line.startswith("warning:")]
    detail = "\n".join(lines).strip()
    lowered = detail.lower()
    if match := re.search(r"[Ww]heels are required for `([^`]+)`", detail):
        return UnsatisfiableError(
            f"{match[1]} has no wheel for Python {interpreter.version} on {interpreter.subdir}",
            hint=_NO_WHEEL_HINT,
            detail=detail,
        )
    if "no solution found" in lowered or "not found in the package registry" in lowered:
        asked = re.search(r"you require ([^\s,]+)", detail)
        return UnsatisfiableError(
            f"no wheels meet {asked[1] if asked else 'the requirements'} for Python "
            f"{interpreter.version}",
            hint="check the name and the version, or ask for another --python",
            detail=detail,
        )
    if "git operation" not in lowered and (
        "failed to fetch" in lowered or "error sending request" in lowered
    ):
        return ChannelError(
            "the Python index cannot be reached",
            hint="name yours as for uv or pip (UV_DEFAULT_INDEX, PIP_INDEX_URL), or HTTPS_PROXY",
            detail=detail,
        )
    first = lines[0].removeprefix("error: ") if lines else "it says nothing"
    kind = MalformedFileError if "parse" in lowered or "requirement" in lowered else LockError
    return kind(f"uv cannot choose wheels: {first}", detail=detail)


def _tags(interpreter: Interpreter) -> list[Tag]:
    version = tuple(int(number) for number in interpreter.minor.split("."))
    platforms = list(platform_tags())
    return [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, f"cp{interpreter.tag}", platforms=platforms),
    ]


def _choose(row: dict[str, Any], order: dict[Tag, int], interpreter: Interpreter) -> Wheel:
    """Take the wheel of a pylock's package whose tags fit best (PEP 425's order)."""
    name = canonicalize_name(row["name"])
    found: list[tuple[int, str, Wheel]] = []
    for entry in (*row.get("wheels", ()), *([row["archive"]] if "archive" in row else ())):
        url = entry.get("url") or Path(entry["path"]).absolute().as_uri()
        try:
            _, version, _, tags = parse_wheel_filename(_file_name(url))
        except InvalidWheelFilename:
            continue
        fits = [order[tag] for tag in tags if tag in order]
        if fits:
            sha256 = entry.get("hashes", {}).get("sha256", "")
            wheel = Wheel(name=name, version=str(version), url=url, sha256=sha256, tags=tags)
            found.append((min(fits), url, wheel))
    if not found:
        raise UnsatisfiableError(
            f"{name} {row.get('version', '')} has no wheel for Python {interpreter.version} on "
            f"{interpreter.subdir}",
            hint=_NO_WHEEL_HINT,
        )
    return min(found, key=lambda one: one[:2])[2]
