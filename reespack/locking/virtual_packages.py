"""The virtual packages that a solve assumes: this machine's, or conda-lock's defaults elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rattler.virtual_package import GenericVirtualPackage

__all__ = ["as_rattler", "assumed"]

Triple = tuple[str, str, str]
"""Name, version and build of a virtual package."""

# conda_lock/default-virtual-packages.yaml as of 4.0: what it assumes of a machine that it is not
# on. __cuda is left out: an environment that needs a GPU should say so (CONDA_OVERRIDE_CUDA).
_GLIBC = "2.28"
_KERNEL = "5.10"
_OSX = "11.0"


def assumed(
    platform: str,
    *,
    given: Iterable[tuple[str, ...]] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Triple, ...]:
    """Return the virtual packages of `platform`, by name.

    On this machine's own platform they are detected, elsewhere conda-lock's defaults; the
    variables CONDA_OVERRIDE_GLIBC, _LINUX, _CUDA, _OSX, _WIN and _ARCHSPEC (an empty one takes
    the package away) come over that, and `given` (name, version, build) over everything.
    """
    from rattler.platform import Subdir

    here = str(Subdir.current()) == platform
    packages = _detected() if here else _defaults(platform)
    for name, value in _overrides(platform, environ):
        packages.pop(name, None)
        if value:
            packages[name] = ("1", value) if name == "__archspec" else (value, "0")
    for name, *rest in given or ():
        version, build = (*rest, *("0", "0")[len(rest) :])[:2]
        packages[name] = (version, build)
    return tuple((name, *packages[name]) for name in sorted(packages))


def as_rattler(packages: Iterable[Triple]) -> list[GenericVirtualPackage]:
    """Return the packages as the solver wants them."""
    from rattler import PackageName, Version
    from rattler.package import BuildString
    from rattler.virtual_package import GenericVirtualPackage

    return [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
        for name, version, build in packages
    ]


def _detected() -> dict[str, tuple[str, str]]:
    from rattler import VirtualPackage

    found = [package.into_generic() for package in VirtualPackage.detect()]
    return {
        package.name.normalized: (str(package.version), str(package.build_string))
        for package in found
    }


def _defaults(platform: str) -> dict[str, tuple[str, str]]:
    system, _, machine = platform.partition("-")
    architecture = {"64": "x86_64", "32": "x86"}.get(machine, machine)
    packages = {"__archspec": ("1", architecture)}
    if system == "win":
        return {**packages, "__win": ("0", "0")}
    packages["__unix"] = ("0", "0")
    if system == "linux":
        packages |= {"__linux": (_KERNEL, "0"), "__glibc": (_GLIBC, "0")}
    elif system == "osx":
        packages["__osx"] = (_OSX, "0")
    return packages


def _overrides(platform: str, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (name, value) of the CONDA_OVERRIDE_* variables that bear on `platform`."""
    system = platform.partition("-")[0]
    names = {
        "linux": ("glibc", "linux", "cuda", "archspec"),
        "osx": ("osx", "archspec"),
        "win": ("win", "cuda", "archspec"),
    }.get(system, ("archspec",))
    keys = {f"__{name}": f"CONDA_OVERRIDE_{name.upper()}" for name in names}
    return [(name, environ[key].strip()) for name, key in keys.items() if key in environ]
