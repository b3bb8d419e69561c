"""From a catalog file to values; whatever is wrong is told with file and line.

The form is published in `reespack/data/catalog.schema.json` and explained in docs/hub.md.
"""

from __future__ import annotations

import difflib
import json
import re
import stat
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.catalog.entries import Catalog, Entry, Source
from reespack.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FORMAT", "RESOURCES", "parse_catalog", "read_catalog", "schema"]

FORMAT = 1
RESOURCES = (
    "account",
    "cluster",
    "gres",
    "host",
    "memory",
    "ngpus",
    "nprocs",
    "options",
    "partition",
    "qos",
    "queue",
    "reservation",
    "runtime",
)
"""batchspawner's `req_*`, without those that would change whose job it is or what it runs."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TOP = ("format", "title", "default", "defaults", "environments")
_DEFAULTS = ("resources", "variables", "prologue")
_ENTRY = ("title", "description", "archive", "repository", "ref", "groups", *_DEFAULTS)
_LARGEST = 1 << 20


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a catalog."""
    text = files("reespack").joinpath("data/catalog.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def read_catalog(path: Path) -> Catalog:
    """Read a catalog; relative paths in it start from its folder.

    Raises CatalogError, with the line, for what does not follow the schema, and for a file that
    everybody may write to, since it decides what users' jobs run.
    """
    try:
        status = path.stat()
        if status.st_size > _LARGEST:
            raise CatalogError(f"{path}: is larger than 1 MiB, and no catalog")
        if status.st_mode & stat.S_IWOTH:
            raise CatalogError(
                f"{path}: everybody may write to it, and it decides what jobs run",
                hint=f"chmod o-w {path}",
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CatalogError(f"{path}: cannot be read: {reason}") from error
    return parse_catalog(text, path=path)


def parse_catalog(text: str, *, path: Path) -> Catalog:
    """Return the catalog that `text` is; `path` is for messages and where relative paths start."""
    content = _Place(_load(text, path), path, line=1)
    content.require_keys(_TOP, needed=("format", "environments"))
    if content.value["format"] != FORMAT:
        raise content.wrong("format", f"must be {FORMAT}")
    shared = content.table("defaults", _DEFAULTS)
    environments = content.below("environments")
    entries = tuple(_entry(environments, name, shared) for name in environments.value)
    default = content.text("default") or None
    if default is not None and default not in environments.value:
        raise content.wrong(
            "default", f"{default!r} is not among the environments", near=environments.value
        )
    return Catalog(path=path, title=content.text("title"), default=default, entries=entries)


def _entry(environments: _Place, name: object, shared: _Place) -> Entry:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise environments.wrong(
            name, f"{name!r} is no name", hint="small letters, digits, and . _ - between them"
        )
    one = environments.below(name)
    one.require_keys(_ENTRY, needed=())
    archive, repository, ref = one.text("archive"), one.text("repository"), one.text("ref")
    if bool(archive) == bool(repository):
        raise environments.wrong(name, f"{name}: needs either `archive` or `repository`")
    if bool(repository) != bool(ref):
        hint = "a repository is built at a `ref`: best a commit, which cannot move"
        raise environments.wrong(name, f"{name}: `repository` and `ref` go together", hint=hint)
    if repository.startswith("-") or ref.startswith("-"):
        raise environments.wrong(name, f"{name}: neither repository nor ref begins with a dash")
    return Entry(
        name=name,
        title=one.text("title") or name,
        description=one.text("description"),
        archive=_located(archive, environments.path) if archive else None,
        source=Source(repository=_repository(repository, environments.path), ref=ref)
        if repository
        else None,
        groups=one.texts("groups"),
        resources=_pairs({**_resources(shared), **_resources(one)}),
        variables=_pairs({**_variables(shared), **_variables(one)}),
        prologue="\n".join(filter(None, (shared.text("prologue"), one.text("prologue")))),
    )


def _resources(place: _Place) -> dict[str, str]:
    table = place.table("resources", RESOURCES)
    for name in table.value:
        if "\n" in table.scalar(name):
            raise table.wrong(name, f"{name}: is one line")
    return {name: table.scalar(name) for name in table.value}


def _variables(place: _Place) -> dict[str, str]:
    table = place.table("variables", None)
    for name in table.value:
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise table.wrong(name, f"{name!r} is no name of a variable")
        if name.startswith(("JUPYTERHUB_", "REESPACK_HUB_")):
            raise table.wrong(name, f"{name}: is the Hub's own")
    return {name: table.scalar(name) for name in table.value}


def _pairs(table: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(table.items()))


def _located(archive: str, catalog: Path) -> Path:
    return catalog.absolute().parent / Path(archive).expanduser()


def _repository(text: str, catalog: Path) -> str:
    """Return a repository; `./NAME` and `../NAME` start from the catalog's folder."""
    if text.startswith(("./", "../")):
        return str((catalog.absolute().parent / text).resolve())
    return text


# --- YAML, with lines ---------------------------------------------------------------------------


def _load(text: str, path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt")
    try:
        content = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "cannot be parsed"
        raise CatalogError(f"{path}{line}: is not valid YAML: {problem}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise CatalogError(f"{path}: is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise CatalogError(
            f"{path}:1: is not a catalog: no table with `format` and `environments`",
            hint="docs/hub.md shows one",
        )
    return content


class _Place:
    """A table in the file, and the line that it begins in."""

    def __init__(self, value: Any, path: Path, *, line: int) -> None:  # noqa: ANN401 - YAML's
        self.value = value
        self.path = path
        self._line = line

    def wrong(
        self, key: object, problem: str, *, hint: str | None = None, near: Iterable[str] = ()
    ) -> CatalogError:
        """Return the error that names `key`'s line."""
        close = difflib.get_close_matches(str(key), list(near), n=1)
        return CatalogError(
            f"{self.path}:{self._line_of(key)}: {problem}",
            hint=hint or (f"did you mean {close[0]!r}?" if close else None),
        )

    def require_keys(self, known: tuple[str, ...], *, needed: tuple[str, ...]) -> None:
        """Raise CatalogError for a key that is unknown, and for one that is lacking."""
        for key in self.value:
            if key not in known:
                raise self.wrong(key, f"{key!r} is no key here", near=known)
        for key in needed:
            if key not in self.value:
                raise self.wrong(key, f"{key!r} is lacking")

    def below(self, key: str) -> _Place:
        """Return the table under `key`."""
        value = self.value.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, f"{key}: must be a table")
        return _Place(value, self.path, line=self._line_of(key))

    def table(self, key: str, known: tuple[str, ...] | None) -> _Place:
        """Return the table under `key`, empty where there is none."""
        if key not in self.value:
            return _Place({}, self.path, line=self._line)
        place = self.below(key)
        if known is not None:
            place.require_keys(known, needed=())
        return place

    def text(self, key: str) -> str:
        """Return the text under `key`, without blanks around it; "" where there is none."""
        value = self.value.get(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, f"{key}: must be text", hint="put it in quotes")
        if "\0" in value:
            raise self.wrong(key, f"{key}: has a NUL in it")
        return str(value).strip()

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of texts under `key`."""
        value = self.value.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(key, f"{key}: must be a list of texts")
        return tuple(str(one) for one in value)

    def scalar(self, key: str) -> str:
        """Return text or a whole number under `key` as text."""
        value = self.value[key]
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self.wrong(key, f"{key}: must be text or a whole number", hint="put it in quotes")
        return str(value)

    def _line_of(self, key: object) -> int:
        marks = getattr(self.value, "lc", None)
        data = getattr(marks, "data", None) or {}
        return int(data[key][0]) + 1 if key in data else self._line
