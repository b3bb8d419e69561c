"""Which buildpacks there are: those of the entry-point group `reespack.buildpacks`.

The built-ins and third parties come through the same door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reespack.buildpack import API, Buildpack
from reespack.entry_points import entry_points
from reespack.errors import BuildpackError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.entry_points import EntryPoint

__all__ = ["GROUP", "RegisteredBuildpack", "load_buildpacks", "load_from"]

GROUP = "reespack.buildpacks"


class RegisteredBuildpack(NamedTuple):
    """A buildpack, and the distribution that brought it."""

    buildpack: Buildpack
    distribution: str
    version: str


def load_buildpacks() -> tuple[RegisteredBuildpack, ...]:
    """Return every installed buildpack, the highest rank first and then by id.

    Raises BuildpackError, naming the distribution, for one that cannot be imported, is no
    buildpack, has an unknown `api`, or an id that another one has.
    """
    return load_from(entry_points(GROUP))


def load_from(points: Iterable[EntryPoint]) -> tuple[RegisteredBuildpack, ...]:
    """Return the buildpacks of these entry points, as `load_buildpacks` does."""
    found: dict[str, RegisteredBuildpack] = {}
    for point in dict.fromkeys(points):
        registered = _load(point)
        name = registered.buildpack.id
        if name in found:
            raise BuildpackError(
                f"two buildpacks have the id `{name}`: "
                f"one from {found[name].distribution}, one from {registered.distribution}",
                hint="uninstall one of the two distributions",
            )
        found[name] = registered
    return tuple(sorted(found.values(), key=lambda one: (-one.buildpack.rank, one.buildpack.id)))


def _load(point: EntryPoint) -> RegisteredBuildpack:
    source = point.distribution
    where = f"the buildpack {point.name} of {source}"
    try:
        loaded = point.load()
        buildpack = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:  # a third party's import may raise anything
        raise BuildpackError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}",
            hint=f"reinstall or uninstall {source}",
        ) from error
    if not isinstance(buildpack, Buildpack):
        raise BuildpackError(
            f"{where} is not a buildpack ({point.value} lacks a member of the interface)",
            hint="reespack.buildpack.Buildpack lists the members",
        )
    if buildpack.api != API:
        raise BuildpackError(
            f"{where} is written for api {buildpack.api}; this reespack speaks api {API}",
            hint=f"install versions of reespack and {source} that belong together",
        )
    return RegisteredBuildpack(buildpack=buildpack, distribution=source, version=point.version)
