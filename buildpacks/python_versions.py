"""Python versions as PEP 440 specifiers, turned into conda's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.malformed import malformed

if TYPE_CHECKING:
    from reespack.model import Origin

__all__ = ["conda_version"]


def conda_version(specifier: str, origin: Origin, *, default: str) -> str:
    """Return the conda version spec for a `requires-python`.

    Where the default Python meets it, both are asked for: a bound such as `>=3.8` is no wish for
    the newest Python of all, which packages often do not support yet. Raises MalformedFileError
    for what is not a specifier.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        bounds = SpecifierSet(specifier)
    except InvalidSpecifier as error:
        raise malformed(
            origin,
            f"`{specifier}` is not a specifier of versions",
            "requires-python reads `>=3.10` or `>=3.10,<3.13`",
        ) from error
    parts = [_part(one.operator, one.version) for one in sorted(bounds, key=str)]
    # the last patch release of the default is what a solver will take
    if bounds.contains(f"{default}.999") or bounds.contains(default):
        parts.append(f"{default}.*")
    return ",".join(dict.fromkeys(parts)) or "*"


def _part(operator: str, version: str) -> str:
    if operator in {"==", "==="}:
        return version if version.endswith(".*") else f"=={version}"
    return f"{operator}{version}"
