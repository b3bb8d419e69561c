"""Entry points of installed distributions, as importlib.metadata finds them, but sooner.

importlib.metadata imports the email package, and parses a distribution's whole metadata each time
that its name is asked for; every command that looks at a repository would wait for both. Here the
same files are read from the same folders. Where something else than folders brings distributions
(a zip file or an egg on sys.path, a finder of its own), importlib.metadata is asked after all.

https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, NamedTuple

from reespack.errors import BuildpackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["EntryPoint", "entry_points"]

# A folder that describes a distribution, and the file in it that has its name and version.
_DESCRIPTIONS = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}


class EntryPoint(NamedTuple):
    """An object that a distribution offers under a name: `value` is `module:attribute`."""

    name: str
    value: str
    distribution: str
    version: str

    def load(self) -> object:
        """Import the object and return it; raise whatever importing it raises."""
        module, _, attributes = self.value.partition(":")
        found: object = import_module(module.strip())
        for attribute in filter(None, attributes.partition("[")[0].strip().split(".")):
            found = getattr(found, attribute)
        return found


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, in the order of sys.path.

    Of a distribution that is installed twice, the one counts that is imported. Raises
    BuildpackError, naming the distribution, for a file that cannot be parsed.
    """
    folders = [path or "." for path in sys.path]
    if _has_other_sources(folders):
        return _from_the_standard_library(group)
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for folder in dict.fromkeys(folders):
        for name, described in _distributions(folder):
            if name not in found:
                found[name] = tuple(_read(described, group))
    return tuple(point for points in found.values() for point in points)


def _has_other_sources(folders: Sequence[str]) -> bool:
    finders = (finder for finder in sys.meta_path if finder is not PathFinder)
    return any(hasattr(finder, "find_distributions") for finder in finders) or any(
        folder.endswith(".egg") or os.path.isfile(folder)  # noqa: PTH113 - as often as sys.path is long
        for folder in folders
    )


def _distributions(folder: str) -> Iterator[tuple[str, str]]:
    """Yield (normalized name, folder that describes it) of each distribution in `folder`."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - see above
    except OSError:
        return
    for name in names:
        stem, ending = os.path.splitext(name)  # noqa: PTH122
        if ending in _DESCRIPTIONS:
            yield re.sub(r"[-_.]+", "-", stem.partition("-")[0]).lower(), f"{folder}/{name}"


def _read(described: str, group: str) -> Iterator[EntryPoint]:
    try:
        with open(f"{described}/entry_points.txt", "rb", buffering=0) as file:  # noqa: PTH123
            content = file.read()
    except OSError:
        return
    if f"[{group}]".encode() not in content:  # hardly any has it
        return
    distribution, version = _name_and_version(described)
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(content.decode(errors="replace"))
    except configparser.Error as error:
        problem = str(error).partition("\n")[0]
        raise BuildpackError(
            f"the entry points of {distribution} cannot be read: {problem}",
            hint=f"reinstall or uninstall {distribution}",
        ) from error
    for name, value in parser.items(group):
        yield EntryPoint(name=name, value=value, distribution=distribution, version=version)


def _name_and_version(described: str) -> tuple[str, str]:
    """Read the two fields from the head of a distribution's metadata."""
    fields = {"name": "unknown", "version": "unknown"}
    metadata = _DESCRIPTIONS[os.path.splitext(described)[1]]  # noqa: PTH122
    try:
        with open(f"{described}/{metadata}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            for line in iter(file.readline, "\n"):
                if not line:
                    break
                field, _, value = line.partition(":")
                if field.lower() in fields:
                    fields[field.lower()] = value.strip()
    except OSError:
        pass
    return fields["name"], fields["version"]


def _from_the_standard_library(group: str) -> tuple[EntryPoint, ...]:
    from importlib import metadata

    return tuple(
        EntryPoint(
            name=point.name,
            value=point.value,
            distribution=point.dist.name if point.dist is not None else "unknown",
            version=point.dist.version if point.dist is not None else "unknown",
        )
        for point in metadata.entry_points(group=group)
    )
