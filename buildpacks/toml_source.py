"""TOML with the lines that its keys stand in, which the standard parser does not keep."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from buildpacks.malformed import at, malformed

if TYPE_CHECKING:
    from reespack.model import Origin, Repository

__all__ = ["TomlFile", "read_toml"]

_HEADER = r"\s*\[{1,2}\s*(?P<name>[^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$"
_KEY = r"""\s*(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<bare>[\w-]+))\s*[=.]"""


class TomlFile(NamedTuple):
    """A TOML file's tables, and where things stand in it."""

    path: str
    data: dict[str, Any]
    text: str

    def table(self, name: str) -> dict[str, Any]:
        """Return a top-level table, {} when absent; raise MalformedFileError for another value."""
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            raise malformed(self.place(name), f"`{name}` is not a table")
        return value

    def place(self, table: str, key: str | None = None) -> Origin:
        """Return where a table, or a key in it, stands; the file alone when it is not found."""
        current, header = "", None
        for number, line in enumerate(self.text.split("\n"), start=1):
            if found := re.match(_HEADER, line):
                current = found["name"].replace('"', "").replace("'", "").replace(" ", "")
                header = header or (number if current == table else None)
                if key is not None and current == f"{table}.{key}":
                    return at(self.path, number)
            elif key is not None and current == table and (entry := re.match(_KEY, line)):
                if key in entry.group("double", "single", "bare"):
                    return at(self.path, number)
            elif key is None and current == "" and (entry := re.match(_KEY, line)):
                header = header or (number if table in entry.groups() else None)
        return at(self.path, header)


def read_toml(repository: Repository, path: str) -> TomlFile:
    """Return a parsed file; raise MalformedFileError, with the line, for what is not TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # the same parser under its older name
        import tomli as tomllib

    text = repository.read_text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"\(at line (\d+)", str(error))
        last = text.rstrip("\n").count("\n") + 1
        problem = str(error).partition(" (at ")[0].strip()
        raise malformed(
            at(path, int(line[1]) if line else last), f"is not TOML: {problem}"
        ) from error
    return TomlFile(path=path, data=data, text=text)
