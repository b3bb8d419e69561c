"""Reading lockfiles in conda-lock's v1 format, without conda-lock: a cached build cannot wait.

The format: https://github.com/conda/conda-lock/blob/main/conda_lock/lockfile/v1/models.py.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from reespack.errors import LockError
from reespack.products import Lock, LockedConda, LockedPip, PlatformLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "OVERRIDES",
    "REVISIONS",
    "SPEC",
    "VIRTUAL_PACKAGES",
    "as_url",
    "build_of",
    "dependencies_first",
    "kind_of",
    "parse_yaml",
    "read_lock",
    "stand_in_hash",
]

SPEC = "reespack_spec_"
"""Key, before a platform, of reespack's own digest of what was asked, in `custom_metadata`."""

VIRTUAL_PACKAGES = "reespack_virtual_packages_"
"""Key, before a platform, of the virtual packages assumed: `name=version=build`, by spaces."""

OVERRIDES = "reespack_overrides_"
"""Key, before a platform, of the pip distributions that replace conda's: names, by spaces."""

REVISIONS = "reespack_revisions_"
"""Key, before a platform, of what was asked of git URLs: `name=revision`, by spaces."""

INSTALLED_CATEGORIES = ("main", "dev")
"""What `conda-lock install` takes when nobody says otherwise."""

Kind = Literal["wheel", "sdist", "git", "project"]


def read_lock(text: str, *, name: str = "conda-lock.yml") -> Lock:
    """Read a lockfile, ours or another's; `name` is what errors call it.

    Packages of categories other than main and dev are left out, as `conda-lock install` does.
    Variables in URLs (`https://$USER:$PASSWORD@...`) are filled in. Raises LockError when the
    text is not a v1 lockfile.
    """
    document = parse_yaml(text, name=name)
    try:
        return _lock(document, text)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise LockError(
            f"{name}: is not a lockfile in conda-lock's v1 format ({error!r})",
            hint="make a new one with `reespack lock`",
        ) from error


def parse_yaml(text: str, *, name: str) -> dict[str, Any]:
    """Return the document of a v1 lockfile, unchecked beyond its version; LockError otherwise."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(text, Loader=loader)  # noqa: S506 - both loaders are safe ones
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = name if mark is None else f"{name}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or "not YAML"
        raise LockError(f"{place}: the lockfile cannot be read: {problem}") from error
    if not isinstance(document, dict) or "package" not in document:
        raise LockError(f"{name}: is not a conda-lock lockfile")
    if document.get("version") != 1:
        raise LockError(
            f"{name}: is in version {document.get('version')} of conda-lock's format, not in 1",
            hint="make a new one with `reespack lock`",
        )
    return document


def dependencies_first(names: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the keys with what they depend on before them, otherwise by name.

    Cycles (pip and python, say) are cut where they are entered; names that are not keys do not
    count.
    """
    order: dict[str, None] = {}
    entered: set[str] = set()
    for start in sorted(names):
        stack = [(start, iter(sorted(names[start])))]
        while stack:
            name, rest = stack[-1]
            entered.add(name)
            following = next((n for n in rest if n in names and n not in entered), None)
            if following is None:
                order.setdefault(name)
                stack.pop()
            else:
                stack.append((following, iter(sorted(names[following]))))
    return list(order)


def _lock(document: dict[str, Any], text: str) -> Lock:
    metadata = document["metadata"]
    custom = metadata.get("custom_metadata") or {}
    platforms = []
    for platform in metadata["platforms"]:
        entries = [
            entry
            for entry in document["package"]
            if entry["platform"] == platform
            and entry.get("category", "main") in INSTALLED_CATEGORIES
        ]
        overrides = str(custom.get(OVERRIDES + platform) or "").split()
        platforms.append(
            PlatformLock(platform=platform, conda=_conda(entries), pip=_pip(entries, overrides))
        )
    assumed = tuple(
        (platform, _virtual(str(custom[VIRTUAL_PACKAGES + platform])))
        for platform in metadata["platforms"]
        if VIRTUAL_PACKAGES + platform in custom
    )
    return Lock(
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        platforms=tuple(platforms),
        virtual_packages=assumed,
    )


def _virtual(text: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((name, version, build) for name, version, build in _triples(text))


def _triples(text: str) -> Iterable[list[str]]:
    return (word.split("=", 2) for word in text.split())


# --- the conda half ----------------------------------------------------------------------------


def _conda(entries: list[dict[str, Any]]) -> tuple[LockedConda, ...]:
    found = {entry["name"]: entry for entry in entries if entry["manager"] == "conda"}
    order = dependencies_first({k: v.get("dependencies") or {} for k, v in found.items()})
    return tuple(_locked_conda(found[name]) for name in order)


def _locked_conda(entry: dict[str, Any]) -> LockedConda:
    url = posixpath.expandvars(entry["url"])
    dependencies = entry.get("dependencies") or {}
    return LockedConda(
        name=entry["name"],
        version=str(entry["version"]),
        build=str(entry.get("build") or build_of(url)),
        url=url,
        sha256=entry["hash"].get("sha256"),
        md5=entry["hash"].get("md5"),
        depends=tuple(f"{name} {spec}".strip() for name, spec in dependencies.items()),
    )


def build_of(url: str) -> str:
    """Return the build string that a conda package's file name ends with."""
    stem = re.sub(r"(\.conda|\.tar\.bz2)$", "", unquote(urlsplit(url).path))
    return stem.rsplit("-", 2)[2]


# --- the pip half ------------------------------------------------------------------------------


def _pip(entries: list[dict[str, Any]], overrides: list[str]) -> tuple[LockedPip, ...]:
    found = {entry["name"]: entry for entry in entries if entry["manager"] == "pip"}
    order = dependencies_first({k: v.get("dependencies") or {} for k, v in found.items()})
    return tuple(_locked_pip(found[name], overrides) for name in order)


def _locked_pip(entry: dict[str, Any], overrides: list[str]) -> LockedPip:
    source = entry.get("source") or {}
    url = posixpath.expandvars(entry["url"] if not source else source["url"])
    url = re.sub(r"^file:(?=\.)", "", url)
    kind = kind_of(url)
    sha256 = entry["hash"].get("sha256")
    return LockedPip(
        name=entry["name"],
        version=str(entry["version"]),
        url=url,
        kind=kind,
        # conda-lock writes a git commit where a hash belongs.
        sha256=None if kind == "git" or sha256 == stand_in_hash(url) else sha256,
        depends=tuple((n, str(s)) for n, s in (entry.get("dependencies") or {}).items()),
        overrides=entry["name"] in overrides,
    )


def as_url(one: LockedPip) -> str:
    """Return what a lockfile has as the URL: a project's path becomes `file:./path`.

    That is a URL to rattler, which refuses a mere path, and to pip a folder relative to where it
    runs.
    """
    return f"file:{one.url}" if one.kind == "project" else one.url


def stand_in_hash(url: str) -> str:
    """Return what stands where a hash belongs for a git commit or a folder, which have none.

    rattler refuses a package without a hash; conda-lock ignores that of one with a `source`.
    """
    return hashlib.sha256(url.encode()).hexdigest()


def kind_of(url: str) -> Kind:
    """Return what a pip package's URL in a lockfile stands for."""
    if url.startswith("git+"):
        return "git"
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", url):
        return "project"
    return "wheel" if urlsplit(url).path.endswith(".whl") else "sdist"
