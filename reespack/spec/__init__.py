"""The spec: all contributions merged into one environment, each request with its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from reespack.buildpack import Contribution
from reespack.errors import DetectError, SpecError
from reespack.model import EnvironmentSpec, Note, PipOptions, Verdict
from reespack.spec.additions import Requests, with_additions
from reespack.spec.apt_requirements import map_system_packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reespack.apt import AptTable
    from reespack.model import CondaRequirement, Detection, LockfileInput

__all__ = ["make_spec"]

Item = TypeVar("Item")


def make_spec(  # noqa: PLR0913 - each is a choice of the user's, given by keyword
    detection: Detection,
    *,
    apt: Literal["error", "warn", "ignore"] = "error",
    apt_table: AptTable,
    allow_empty: bool = False,
    default_channels: tuple[str, ...] = ("conda-forge",),
    channels: tuple[str, ...] = (),
    server: bool = False,
    use_lockfile: bool = True,
) -> EnvironmentSpec:
    """Return what the files ask for together, and what reespack adds to it, on one platform.

    `default_channels` count where no file names a channel; `channels` come before all others.
    `server` adds what a Hub's single-user server needs. With a lockfile in the repository nothing
    is added: the requirements are then only what the lock must belong to; without `use_lockfile`
    it is passed over, for a new solve. Raises DetectError when
    nothing is used and `allow_empty` is not set, UnmappedAptError for apt names without a
    counterpart under `apt="error"`, and SpecError for contributions that contradict each other.
    """
    _require_some(detection, allow_empty=allow_empty)
    found = [one for _, one in detection.contributions if isinstance(one, Contribution)]
    lockfile = _single("lockfile", (one.lockfile for one in found)) if use_lockfile else None
    languages = _unique(name for one in found for name in one.languages) or ("python",)
    asked = Requests(
        conda=_unique(one for each in found for one in each.conda),
        pip=_unique(one for each in found for one in each.pip),
    )
    if lockfile is None:
        asked = with_additions(
            asked,
            [one for each in found for one in each.language_versions],
            languages=languages,
            default_python=detection.target.default_python,
            server=server,
        )
    mapped = map_system_packages(
        [one for each in found for one in each.system_packages], table=apt_table, policy=apt
    )
    named = [channel for one in found for channel, _ in one.channels]
    post_build = _single("postBuild", (one.post_build for one in found))
    start = _single("start", (one.start for one in found))
    scripts = {post_build, start, lockfile.path if lockfile else None}
    return EnvironmentSpec(
        name=detection.repository.name,
        platform=detection.target.platform,
        channels=_unique((*channels, *(named or default_channels))),
        conda=_unique((*asked.conda, *mapped.conda)),
        pip=asked.pip,
        pip_constraints=_unique(one for each in found for one in each.pip_constraints),
        pip_options=_merged([one.pip_options for one in found]),
        variables=tuple(dict(pair for one in found for pair in one.variables).items()),
        post_build=post_build,
        start=start,
        lockfile=lockfile,
        languages=languages,
        sources=tuple(
            file.path
            for file in detection.files
            if file.verdict is Verdict.USED and file.path not in scripts
        ),
        notes=_unique((*detection.notes, *mapped.notes, *_lock_notes(lockfile, mapped.conda))),
    )


def _require_some(detection: Detection, *, allow_empty: bool) -> None:
    if not allow_empty and not any(file.verdict is Verdict.USED for file in detection.files):
        raise DetectError(
            "nothing to build from", hint="pass --allow-empty for an environment with Python only"
        )


def _lock_notes(
    lockfile: LockfileInput | None, mapped: Sequence[CondaRequirement]
) -> tuple[Note, ...]:
    """Say that packages in place of system packages are not added to a lock."""
    if lockfile is None or not mapped:
        return ()
    names = ", ".join(_unique(one.name for one in mapped))
    return (
        Note(
            message=f"{lockfile.path} is used as it is, and must hold {names} already",
            hint="name them in the lock's sources and lock again",
            origin=mapped[0].origin,
        ),
    )


def _unique(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return each item once, where it came first."""
    return tuple(dict.fromkeys(items))


def _single(what: str, values: Iterable[Item | None]) -> Item | None:
    """Return the one value that is given; raise SpecError for two."""
    given = _unique(value for value in values if value is not None)
    if len(given) > 1:
        raise SpecError(
            f"two buildpacks name a {what}: {given[0]} and {given[1]}",
            hint="`reespack detect` shows which buildpack speaks for which file",
        )
    return given[0] if given else None


def _merged(options: Sequence[PipOptions]) -> PipOptions:
    """Return the options of all contributions as pip would have them from several files."""
    return PipOptions(
        index_url=next((one.index_url for one in reversed(options) if one.index_url), None),
        extra_index_urls=_unique(url for one in options for url in one.extra_index_urls),
        find_links=_unique(link for one in options for link in one.find_links),
        no_index=any(one.no_index for one in options),
        pre=any(one.pre for one in options),
        no_binary=_unique(name for one in options for name in one.no_binary),
        only_binary=_unique(name for one in options for name in one.only_binary),
        require_hashes=any(one.require_hashes for one in options),
    )
