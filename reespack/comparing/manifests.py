"""What two manifests say differently, as short texts that can stand side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Difference", "compare_packages", "compare_settings"]

_OTHERWISE = frozenset({"$schema", "key", "archive", "contents", "conda", "pip", "differing"})
"""Fields that follow from others, are compared apart, or say how it was packed and not what."""

_IN_WORDS = {
    "name": "name",
    "platform": "platform",
    "post_build": "postBuild",
    "start": "start",
    "leftovers": "left in HOME",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting or a package, and how it stands in each; None where it is missing."""

    name: str
    first: str | None
    second: str | None


def compare_settings(first: dict[str, Any], second: dict[str, Any]) -> tuple[Difference, ...]:
    """Return all that differs but packages and files, in the order of `reespack inspect`.

    A field that has no short form is only said to be different.
    """
    one, other = dict(_settings(first)), dict(_settings(second))
    names = [*one, *(name for name in other if name not in one)]
    return _differences(names, one, other)


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


def _differences(
    names: Iterable[str], one: Mapping[str, str], other: Mapping[str, str]
) -> tuple[Difference, ...]:
    return tuple(
        Difference(name=name, first=one.get(name), second=other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    )


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


_ALWAYS_SHOWN = ("version", "build")


# --- settings ----------------------------------------------------------------------------------


def _settings(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) for all that a manifest says besides packages and files."""
    known: dict[str, Callable[[Any], Iterable[tuple[str, str]]]] = {
        "tool": _tool,
        "repository": _repository,
        "lock": _lock,
        "channels": lambda value: [("channels", " ".join(value))],
        "variables": lambda value: [(f"variable {name}", text) for name, text in value.items()],
        "kernelspecs": _kernelspecs,
        "files": _files,
        "buildpacks": lambda value: [
            (f"buildpack {one['id']}", str(one["version"])) for one in value
        ],
        "changes": lambda value: [
            (f"{one['change']} by {_whom(one)}", one["path"]) for one in value
        ],
    }
    order = ["name", "platform", "tool", "repository", "lock", "channels", "files", "variables"]
    for field in [*order, *sorted(set(manifest) - set(order))]:
        value = manifest.get(field)
        if field in _OTHERWISE or value is None:
            continue
        if field == "changes":
            yield from _together(known[field](value))
        elif field in known:
            yield from known[field](value)
        elif isinstance(value, str):
            yield _IN_WORDS.get(field, field), value
        elif value:
            yield from _together((_IN_WORDS.get(field, field), _plain(one)) for one in value)


def _together(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Put values of one name together, in their order."""
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        gathered.setdefault(name, []).append(value)
    for name, values in gathered.items():
        yield name, ", ".join(values)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("message") or value)
    return str(value)


def _whom(change: dict[str, Any]) -> str:
    return str(change["package"] or change["by"])


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
