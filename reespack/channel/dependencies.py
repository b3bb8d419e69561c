"""What a wheel's package depends on, and where that is the same.

A `noarch` package says one thing to every Python and machine; a distribution whose markers say
different things to different Pythons becomes one package for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from reespack.channel.matchspecs import dependency, python_range
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.channel.interpreter import Interpreter
    from reespack.channel.metadata import Metadata
    from reespack.channel.wheels import Wheel

__all__ = ["Lookup", "Placement", "depends_of", "placement_of"]

Lookup = Callable[[str], "Metadata | None"]
"""Gives the metadata of another distribution of the same closure by its normalised name."""

_PYTHONS = tuple(f"3.{minor}" for minor in range(8, 17))  # those a noarch package may meet
_MACHINES = ("x86_64", "aarch64")
_OTHER_SYSTEMS = (("win32", "Windows", "nt", "AMD64"), ("darwin", "Darwin", "posix", "arm64"))
_OLD_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_PATCH_LEVEL = re.compile(r"\d+\.\d+\.[1-9]")  # Requires-Python that a minor version cannot tell


class Placement(Value):
    """Where the dependencies are the same: for any Python, any machine, any system."""

    one_python: bool
    one_machine: bool
    linux_only: bool


def _requirements(
    metadata: Metadata,
    environment: dict[str, str],
    lookup: Lookup,
    extras: frozenset[str] = frozenset(),
    seen: frozenset[tuple[str, str]] = frozenset(),
) -> Iterator[str]:
    """The match specs that hold in an environment; extras of dependencies are written out."""
    for requirement in metadata.requires:
        if not _holds(requirement.marker, environment, extras):
            continue
        name = canonicalize_name(requirement.name)
        if name != metadata.name:
            yield dependency(requirement)
        wanted = frozenset(extra for extra in requirement.extras if (name, extra) not in seen)
        if not wanted:
            continue
        other = metadata if name == metadata.name else lookup(name)
        if other is not None:
            deeper = seen | {(name, extra) for extra in wanted}
            only = _only_extras(other, environment)
            for spec in _requirements(other, environment, lookup, wanted, deeper):
                if spec not in only:
                    yield spec


def _only_extras(metadata: Metadata, environment: dict[str, str]) -> frozenset[str]:
    """What the distribution asks for anyway: no extra's doing."""
    return frozenset(
        dependency(requirement)
        for requirement in metadata.requires
        if _holds(requirement.marker, environment, frozenset())
    )


def _holds(marker: Marker | None, environment: dict[str, str], extras: frozenset[str]) -> bool:
    if marker is None:
        return True
    try:
        return any(marker.evaluate({**environment, "extra": extra}) for extra in (extras or {""}))
    except UndefinedEnvironmentName:
        return False


def _depends(metadata: Metadata, environment: dict[str, str], lookup: Lookup) -> tuple[str, ...]:
    return tuple(sorted(set(_requirements(metadata, environment, lookup))))


def placement_of(metadata: Metadata, interpreter: Interpreter, lookup: Lookup) -> Placement:
    """Whether the dependencies differ between Pythons, machines or systems."""
    here = dict(interpreter.markers)
    depends = _depends(metadata, here, lookup)

    def same(**changes: str) -> bool:
        return _depends(metadata, {**here, **changes}, lookup) == depends

    return Placement(
        one_python=not all(
            same(python_version=version, python_full_version=f"{version}.{patch}")
            for version in _pythons(metadata.requires_python)
            for patch in (0, 99)
        ),
        one_machine=not all(same(platform_machine=machine) for machine in _MACHINES),
        linux_only=not all(
            same(sys_platform=name, platform_system=system, os_name=os_name, platform_machine=m)
            for name, system, os_name, m in _OTHER_SYSTEMS
        ),
    )


def _pythons(requires_python: str | None) -> list[str]:
    try:
        allowed = SpecifierSet(requires_python or "")
    except InvalidSpecifier:
        return list(_PYTHONS)
    return [version for version in _PYTHONS if allowed.contains(f"{version}.99")]


def depends_of(  # noqa: PLR0913 - what a dependency can depend on
    wheel: Wheel,
    metadata: Metadata,
    placement: Placement,
    interpreter: Interpreter,
    *,
    lookup: Lookup,
    noarch: bool,
) -> tuple[str, ...]:
    """Return all the match specs of the wheel's package for an interpreter, in order."""
    depends = set(_depends(metadata, dict(interpreter.markers), lookup))
    one_python = not noarch or placement.one_python
    if not one_python or _PATCH_LEVEL.search(metadata.requires_python or ""):
        depends.add(python_range(metadata.requires_python))
    if one_python:
        major, minor = interpreter.minor.split(".")
        depends.add(f"python >={interpreter.minor},<{major}.{int(minor) + 1}.0a0")
    if not wheel.pure:
        depends.add(f"python_abi {interpreter.minor}.* *_cp{interpreter.tag}")
        depends |= _glibc(wheel)
    if noarch and placement.linux_only:
        depends.add("__linux")
    return tuple(sorted(depends))


def _glibc(wheel: Wheel) -> set[str]:
    """The least glibc among the wheel's own platform tags (PEP 600), as a match spec."""
    found: list[tuple[int, int]] = []
    for tag in wheel.tags:
        if match := re.match(r"manylinux_(\d+)_(\d+)_", tag.platform):
            found.append((int(match[1]), int(match[2])))
        elif (name := tag.platform.partition("_")[0]) in _OLD_MANYLINUX:
            found.append(_OLD_MANYLINUX[name])
    return {"__glibc >={}.{}".format(*min(found))} if found else set()
