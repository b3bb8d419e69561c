"""What two manifests say differently, as short texts that can stand side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Difference", "compare_packages", "compare_settings"]

_OTHERWISE = frozenset({"$schema", "key", "archive", "contents", "conda", "pip", "differing"})
"""Fields that follow from others, are compared apart, or say how it was packed and not what."""

_FIRST = ("name", "platform")
_ALWAYS_SHOWN = ("version", "build")
_LISTS = {"leftovers": "left in HOME", "notes": "notes", "changes": "changed files"}
"""Lists of which only what the other has not is shown."""


class Difference(Value):
    """A setting or a package, and how it stands in each; None where it is missing."""

    name: str
    first: str | None
    second: str | None


def compare_settings(first: dict[str, Any], second: dict[str, Any]) -> tuple[Difference, ...]:
    """Return all that differs but packages and files, in the order of `reespack inspect`.

    A field that has no short form is only said to be different.
    """
    one, other = dict(_settings(first)), dict(_settings(second))
    for field, name in _LISTS.items():
        items = [[_item(item) for item in manifest[field]] for manifest in (first, second)]
        one[name] = ", ".join(item for item in items[0] if item not in items[1])
        other[name] = ", ".join(item for item in items[1] if item not in items[0])
    names = [*one, *(name for name in other if name not in one)]
    return tuple(
        Difference(name=name, first=one.get(name) or None, second=other.get(name) or None)
        for name in names
        if (one.get(name) or None) != (other.get(name) or None)
    )


def compare_packages(
    first: Iterable[dict[str, Any]], second: Iterable[dict[str, Any]]
) -> tuple[Difference, ...]:
    """Return the packages whose version, build, origin or content differ, by name.

    A digest stands only where nothing shorter tells the two apart.
    """
    one = {package["name"]: package for package in first}
    other = {package["name"]: package for package in second}
    found = []
    for name in sorted({*one, *other}):
        packages = (one.get(name), other.get(name))
        if packages[0] != packages[1]:
            texts = _told_apart(*packages)
            found.append(Difference(name=name, first=texts[0], second=texts[1]))
    return tuple(found)


# --- packages ----------------------------------------------------------------------------------


def _told_apart(
    one: dict[str, Any] | None, other: dict[str, Any] | None
) -> tuple[str | None, str | None]:
    """Return a text for each package, of the fields in which they differ; version and build always.

    Besides those the manifest may know fields that are not known here.
    """
    shown = {"version", "build"}
    if one is not None and other is not None and _text(one, shown) == _text(other, shown):
        fields = sorted({*one, *other} - {"name"})
        shown |= {field for field in fields if one.get(field) != other.get(field)}
    return _text(one, shown), _text(other, shown)


def _text(package: dict[str, Any] | None, shown: set[str]) -> str | None:
    if package is None:
        return None
    first = [str(package[field]) for field in ("version", "build") if package.get(field)]
    rest = [
        f"{field}={package.get(field)}" for field in sorted(shown) if field not in _ALWAYS_SHOWN
    ]
    return " ".join([*first, *rest])


# --- settings ----------------------------------------------------------------------------------


def _settings(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) for all that a manifest says besides packages and files."""
    known: dict[str, Callable[[Any], Iterable[tuple[str, str]]]] = {
        "tool": _tool,
        "repository": _repository,
        "lock": _lock,
        "channels": lambda value: [("channels", " ".join(value))],
        "files": _files,
        "variables": lambda value: [(f"variable {name}", text) for name, text in value.items()],
        "post_build": lambda value: [("postBuild", value or "")],
        "kernelspecs": _kernelspecs,
        "buildpacks": lambda value: [
            (f"buildpack {one['id']}", str(one["version"])) for one in value
        ],
    }
    rest = sorted(set(manifest) - set(known) - set(_LISTS) - _OTHERWISE)
    for field in [*_FIRST, *known, *(one for one in rest if one not in _FIRST)]:
        if field in known:
            yield from known[field](manifest[field])
        else:
            yield field, _item(manifest[field])


def _item(value: object) -> str:
    """Return a short text for a value of any form, also of one that a later version added."""
    if isinstance(value, dict):
        if "message" in value:
            return str(value["message"])
        if "change" in value:
            return f"{value['path']} {value['change']} by {value['package'] or value['by']}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _tool(tool: dict[str, Any]) -> list[tuple[str, str]]:
    return [("made by", f"{tool['name']} {tool['version']}")]


def _repository(repository: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for field, name in (("url", "repository"), ("commit", "commit"), ("subdir", "folder")):
        if repository[field]:
            yield name, repository[field]
    yield "uncommitted changes", "yes" if repository["dirty"] else "no"


def _lock(lock: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "lock", lock["sha256"]
    yield "lock from", "the repository" if lock["given"] else "a solve"
    for one in lock["virtual_packages"]:
        yield one["name"], f"{one['version']} {one['build']}".removesuffix(" 0")


def _kernelspecs(kernelspecs: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for one in kernelspecs:
        yield f"kernel {one['name']}", f"{one['display_name']} ({one['language']})"


def _files(files: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for one in files:
        yield one["path"], f"{one['verdict']} {(one['sha256'] or '')[:12]}".rstrip()
