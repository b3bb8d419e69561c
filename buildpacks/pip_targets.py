"""One requirement of pip's: a name with versions, a URL, or a path in the repository."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from buildpacks.malformed import malformed
from reespack.errors import RepositoryError
from reespack.model import PipRequirement

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import Origin, Repository

__all__ = ["Asked", "pip_requirement", "resolved"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PLAIN = re.compile(rf"(?P<name>{_NAME})(?:(?:==|>=|<=|!=|<|>)\d+(?:\.\d+)*)?")
"""What most lines are, valid whoever parses it, and written in the one way that there is."""

_DIRECT = rf"(?P<name>{_NAME})\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<url>\S.*)"
_URL = r"(?:(?:git|hg|svn|bzr)\+)?(?:https?|ssh|ftp|git|svn|lp)://|(?:git\+)?file:"
_EXTRAS = r"(?P<path>.+?)\s*\[(?P<extras>[^\[\]]*)\]$"
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")


class Asked(NamedTuple):
    """A requirement as a file states it.

    `folder` is the one that relative paths start from, in the repository.
    """

    text: str
    origin: Origin
    folder: str
    editable: bool = False
    hashes: tuple[str, ...] = ()


def pip_requirement(asked: Asked, repository: Repository) -> PipRequirement:
    """Return the requirement; raise MalformedFileError when pip would not understand it."""
    text, marker = _without_marker(asked.text)
    if direct := re.fullmatch(_DIRECT, text):
        if direct["url"].startswith("file:"):
            return _local(asked, _file_path(direct["url"], asked), marker, repository)
        return _named(asked)
    if text.startswith("file:"):
        return _local(asked, _file_path(text, asked), marker, repository)
    if re.match(_URL, text):
        return _url(asked, text, marker)
    if _is_path(text):
        return _local(asked, text, marker, repository)
    if asked.editable:
        raise malformed(
            asked.origin,
            f"`-e {asked.text}` is neither a path in the repository nor a URL of a repository",
            "write `-e ./folder` or `-e git+https://...#egg=name`",
        )
    return _named(asked)


def _without_marker(text: str) -> tuple[str, str]:
    """Split `requirement ; marker`; in a URL only a semicolon after a space ends it."""
    parts = re.split(r"\s+;|;\s+" if "://" in text else ";", text, maxsplit=1)
    return parts[0].strip(), parts[1].strip() if len(parts) > 1 else ""


def _is_path(text: str) -> bool:
    path = text.split("[", 1)[0].strip()
    return path.startswith(".") or "/" in path or path.lower().endswith(_ARCHIVES)


def _named(asked: Asked) -> PipRequirement:
    plain = _PLAIN.fullmatch(asked.text)
    text, name, extras = (asked.text, plain["name"], ()) if plain else _parsed(asked)
    name = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
    if name == "python":
        raise malformed(
            asked.origin,
            "Python itself cannot come from the package index",
            "ask for it in runtime.txt (python-3.11), or in environment.yml",
        )
    return PipRequirement(
        text=text,
        origin=asked.origin,
        name=name,
        extras=extras,
        hashes=asked.hashes,
        editable=asked.editable,
    )


def _parsed(asked: Asked) -> tuple[str, str, tuple[str, ...]]:
    """Return text, name and extras of a requirement that only a real parser can judge."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(asked.text)
    except InvalidRequirement as error:
        problem = str(error).splitlines()[0]
        raise malformed(
            asked.origin, f"`{asked.text}` is not a requirement: {problem}", _hint(asked.text)
        ) from error
    return str(requirement), requirement.name, tuple(sorted(requirement.extras))


def _url(asked: Asked, url: str, marker: str) -> PipRequirement:
    """Return a URL as PEP 508 has it, `name @ url`, when its name is known, else as it stands."""
    base, _, fragment = url.partition("#")
    parameters = parse_qs(fragment)
    egg = re.fullmatch(_EXTRAS, parameters.get("egg", [""])[0])
    name, extras = (egg["path"], egg["extras"]) if egg else (parameters.get("egg", [""])[0], "")
    try:
        file = unquote(posixpath.basename(urlsplit(base).path))
    except ValueError as error:
        raise malformed(asked.origin, f"`{url}` is not a URL: {error}") from error
    if not name and file.endswith(".whl"):
        name = file.split("-")[0].replace("_", "-").lower()
    kept = "&".join(f"{key}={values[0]}" for key, values in parameters.items() if key != "egg")
    target = f"{base}#{kept}" if kept else base
    bracket = f"[{extras}]" if extras else ""
    text = f"{name}{bracket} @ {target}" if name else target
    return PipRequirement(
        text=f"{text} ; {marker}" if marker else text,
        origin=asked.origin,
        name=name.lower().replace("_", "-") if name else None,
        extras=_split(extras),
        hashes=asked.hashes,
        editable=asked.editable,
    )


def _split(extras: str) -> tuple[str, ...]:
    return tuple(sorted(extra.strip() for extra in extras.split(",") if extra.strip()))


def _file_path(url: str, asked: Asked) -> str:
    """Return the relative path that a `file:` URL means; raise when it is one of this machine."""
    path = unquote(url.removeprefix("file:").partition("#")[0]).removeprefix("//")
    if path.startswith(("/", "localhost/")):
        raise malformed(
            asked.origin,
            f"`{asked.text}` is a path of the machine that the file was written on",
            "`pip freeze` in a conda environment writes such lines; "
            "`pip list --format=freeze` writes versions instead",
        )
    return path if path.startswith(".") else f"./{path}"


def _local(asked: Asked, text: str, marker: str, repository: Repository) -> PipRequirement:
    """Return a project, wheel or sdist of the repository's own."""
    with_extras = re.fullmatch(_EXTRAS, text)
    written = with_extras["path"] if with_extras else text
    if marker:
        raise malformed(
            asked.origin,
            f"a marker on the path `{written}` is not supported",
            "name the project in an environment.yml with a platform selector instead",
        )
    if written.startswith("/"):
        raise malformed(asked.origin, f"`{written}` is a path outside of the repository")
    path = posixpath.normpath(posixpath.join(asked.folder, written))
    _require_installable(asked, written, path, repository)
    return PipRequirement(
        text=text,
        origin=asked.origin,
        path=path,
        extras=_split(with_extras["extras"]) if with_extras else (),
        hashes=asked.hashes,
        editable=asked.editable,
    )


def _require_installable(asked: Asked, written: str, path: str, repository: Repository) -> None:
    target = resolved(path, asked.origin, repository)
    if target.is_file():
        if path.lower().endswith(_ARCHIVES):
            return
        raise malformed(
            asked.origin,
            f"`{written}` is neither a project folder nor a wheel or sdist",
            f"did you mean `-r {written}`?" if path.endswith((".txt", ".in")) else None,
        )
    if not target.is_dir():
        raise malformed(
            asked.origin,
            f"`{written}` is not in the repository",
            "pip does not expand `*`" if "*" in written else _path_hint(asked, path),
        )
    if not any((target / name).is_file() for name in ("setup.py", "pyproject.toml")):
        raise malformed(
            asked.origin,
            f"`{written}` has neither setup.py nor pyproject.toml",
            _path_hint(asked, path),
        )


def resolved(path: str, origin: Origin, repository: Repository) -> Path:
    """Return the file or folder that a path means; raise, at `origin`, when that is outside."""
    try:
        return repository.resolve(path)
    except ValueError as error:
        raise malformed(origin, f"{path!r} cannot be a path: {error}") from error
    except RepositoryError as error:
        raise malformed(
            origin,
            f"{path} leads out of the repository",
            "only what is in the repository can be carried along",
        ) from error


def _path_hint(asked: Asked, path: str) -> str:
    start = asked.folder or "the root of the repository"
    return f"paths in this file start from {start}; this one means {path}"


def _hint(text: str) -> str:
    """Say what the author of an invalid requirement probably meant."""
    if text.startswith("@"):
        return "this looks like an explicit lockfile of conda's; name it conda-linux-64.lock"
    if re.match(r"[\w.-]+=[^=<>]+=[^=]+$", text):
        return (
            "this looks like the output of `conda list --export`; "
            "`conda env export --from-history` writes an environment.yml"
        )
    if swapped := re.match(rf"({_NAME})\s*=([<>])\s*(.*)", text):
        return f"did you mean `{swapped[1]}{swapped[2]}={swapped[3]}`?"
    if single := re.match(rf"({_NAME}(?:\[.*\])?)\s*=\s*([^=].*)", text):
        return f"pip wants two equal signs: `{single[1]}=={single[2]}`"
    return "a requirement reads `name`, `name==1.2`, `name[extra]>=1,<2`, `name @ URL` or `./path`"
