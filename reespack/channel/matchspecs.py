"""Requirements of Python distributions (PEP 508, PEP 440) as conda match specs.

The two orders of versions differ in three places that matter here:

- conda sorts a pre-release of 2.0 below 2.0, so `<2` has to become `<2a0` to keep it out;
- conda's order of local versions (`1.0+cpu`) is unlike PEP 440's, so the local part moves into
  the build string (`1.0 *_cpu`);
- `~=1.4.2` is written out, as `>=1.4.2,1.4.*`.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "conda_version",
    "dependency",
    "local_label",
    "parse_requirement",
    "python_range",
    "version_range",
]


def conda_version(version: str) -> str:
    """The version of the conda package: PEP 440's normal form without the local part."""
    return Version(version).public


def local_label(version: str) -> str:
    """What the build string says of the local part: `cpu` for `1.0+cpu`, or nothing."""
    return re.sub(r"[^a-z0-9]+", "_", (Version(version).local or "").lower())


# `>=3.6.*` is no specifier, but setuptools let it pass for years.
_STARRED = re.compile(r"([<>]=?|~=)\s*([0-9][0-9.]*?)\.\*")


def parse_requirement(text: str) -> Requirement | None:
    """Read a `Requires-Dist`, forgiving what old wheels get wrong; None without even a name.

    Versions that nobody can read ask for nothing.
    """
    name, _, marker = text.partition(";")
    bare = re.match(r"\s*[A-Za-z0-9][A-Za-z0-9._-]*(\s*\[[^]]*\])?", name)
    attempts = (text, _STARRED.sub(r"\1\2", text), f"{bare[0]} ;{marker}" if bare else "")
    for attempt in attempts:
        with contextlib.suppress(InvalidRequirement):
            return Requirement(attempt.rstrip(" ;"))
    return None


def dependency(requirement: Requirement) -> str:
    """The match spec for a requirement; its marker and extras are the caller's to deal with."""
    name = canonicalize_name(requirement.name)
    versions, local = version_range(requirement.specifier)
    if local:
        return f"{name} {versions} *_{local}"
    return f"{name} {versions}".rstrip()


def version_range(specifiers: Iterable[Specifier]) -> tuple[str, str]:
    """Turn a specifier set into conda's language: the versions, and the local part asked for."""
    ordered = sorted(specifiers, key=lambda one: (_ORDER.index(one.operator), one.version))
    local = next((label for one in ordered if (label := _local_of(one))), "")
    return ",".join(dict.fromkeys(part for one in ordered if (part := _clause(one)))), local


_ORDER = ("===", "==", "~=", ">=", ">", "<=", "<", "!=")


def _local_of(specifier: Specifier) -> str:
    if specifier.operator not in {"==", "==="} or specifier.version.endswith(".*"):
        return ""
    try:
        return local_label(specifier.version)
    except InvalidVersion:
        return ""


def _clause(specifier: Specifier) -> str:
    operator, text = specifier.operator, specifier.version
    if text.endswith(".*"):
        base = _public(text.removesuffix(".*"))
        return f"{base}.*" if operator == "==" else f"!={base}.*"
    if operator == "===":
        return f"=={_public(text)}"
    if operator == "!=" and "+" in text:
        return ""  # keeps out one local variant, which a version alone cannot say
    version = Version(text)
    if operator == "~=":
        series = ".".join(str(number) for number in version.release[:-1])
        epoch = f"{version.epoch}!" if version.epoch else ""
        return f">={version.public},{epoch}{series}.*"
    if operator == "<" and not (version.is_prerelease or version.is_postrelease):
        return f"<{_before(version)}"
    return f"{operator}{version.public}"


def _public(text: str) -> str:
    try:
        return Version(text).public
    except InvalidVersion:  # `===` may compare anything
        return text.partition("+")[0].replace("-", "_")


def _before(version: Version) -> str:
    """Below every pre-release of `version`, whatever its number of zeros (`<2` -> `2a0`)."""
    release = list(version.release)
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    epoch = f"{version.epoch}!" if version.epoch else ""
    return f"{epoch}{'.'.join(map(str, release))}a0"


def python_range(requires_python: str | None) -> str:
    """The `python` match spec for a Requires-Python; unreadable ones ask for nothing."""
    text = _STARRED.sub(r"\1\2", requires_python or "")
    try:
        versions, _local = version_range(SpecifierSet(text))
    except InvalidSpecifier:
        versions = ""
    return f"python {versions}".rstrip()
