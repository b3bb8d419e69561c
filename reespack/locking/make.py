"""Making a lock, or bringing an earlier one up to date."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import sysconfig
import threading
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from reespack.channels import expand_channels
from reespack.errors import LockError
from reespack.locking.reading import REVISIONS, SPEC, parse_yaml, read_lock
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rattler import Gateway, RepoDataRecord
    from rattler.networking import Client

    from reespack.channels import ChannelSettings
    from reespack.locking.halves import Halves
    from reespack.locking.pip_half import GitCommit
    from reespack.model import EnvironmentSpec, Repository
    from reespack.package_index import PackageIndex
    from reespack.products import Lock
    from reespack.progress import Progress

__all__ = ["is_current", "lock"]

VirtualPackages = tuple[tuple[str, str, str], ...]


def lock(  # noqa: PLR0913 - its collaborators, by keyword
    specs: Sequence[EnvironmentSpec],
    *,
    repository: Repository,
    channels: ChannelSettings,
    index: PackageIndex,
    previous: Lock | None = None,
    update: tuple[str, ...] = (),
    virtual_packages: Mapping[str, Iterable[tuple[str, ...]]] | None = None,
    progress: Progress = QUIET,
) -> Lock:
    """Pin all that `specs` ask for, one spec for each platform.

    With `previous`, only what must change changes; `update` names packages (conda's or pip's)
    that may move. `virtual_packages` are (name, version, build) by platform, over those detected
    or assumed. Raises UnsatisfiableError with the solver's explanation, ChannelError for a
    channel that cannot be read, LockError for the rest.
    """
    if not specs:
        raise LockError("nothing to lock: no platform was named")
    _check_update(previous, update)
    importing = _import_conda_lock()
    halves, md5s, assumed = asyncio.run(
        _solve_all(
            specs,
            repository=repository,
            channels=channels,
            index=index,
            previous=previous,
            update=update,
            given=virtual_packages or {},
            progress=progress,
        )
    )
    if previous is not None:
        assumed = {**assumed, **_unmoved(specs, halves, previous)}
    from reespack.locking.document import lock_text

    importing.join()
    text = lock_text(specs, halves, md5s=md5s, assumed=assumed, repository=repository)
    notes = tuple(note for one in halves.values() for note in one.notes)
    return replace(read_lock(text), notes=notes)


def is_current(locked: Lock, specs: Sequence[EnvironmentSpec]) -> bool:
    """Say whether reespack made `locked` for just these requests, on each of their platforms."""
    from reespack.locking.asked import spec_digest

    metadata = parse_yaml(locked.text, name="conda-lock.yml").get("metadata") or {}
    custom = metadata.get("custom_metadata") or {}
    return all(custom.get(SPEC + spec.platform) == spec_digest(spec) for spec in specs)


def _import_conda_lock() -> threading.Thread:
    """Import conda-lock, half a second or more, while solver and index are waited for."""

    def load() -> None:
        # Whatever is wrong with it, it is wrong again where it is needed and can be said.
        with contextlib.suppress(Exception):
            importlib.import_module("conda_lock.conda_lock")

    # conda-lock's imports read these and so does finding uv: two threads that are the first at once
    # see a half of them (https://github.com/python/cpython/issues/92452, before Python 3.12).
    sysconfig.get_config_vars()
    thread = threading.Thread(target=load, name="import-conda-lock", daemon=True)
    thread.start()
    return thread


def _check_update(previous: Lock | None, update: tuple[str, ...]) -> None:
    if not update:
        return
    if previous is None:
        raise LockError("there is no lock yet in which a package could be updated")
    known = {p.name for one in previous.platforms for p in one.conda}
    known |= {p.name for one in previous.platforms for p in one.pip}
    unknown = [name for name in update if not {name, canonicalize_name(name)} & known]
    if unknown:
        raise LockError(
            f"the lock has no package named {', '.join(unknown)}",
            hint="--update names packages that are in the lock already",
        )


async def _solve_all(  # noqa: PLR0913 - what `lock` was given
    specs: Sequence[EnvironmentSpec],
    *,
    repository: Repository,
    channels: ChannelSettings,
    index: PackageIndex,
    previous: Lock | None,
    update: tuple[str, ...],
    given: Mapping[str, Iterable[tuple[str, ...]]],
    progress: Progress,
) -> tuple[dict[str, Halves], dict[str, str], dict[str, VirtualPackages]]:
    from reespack.channels import client as make_client
    from reespack.channels import gateway as make_gateway
    from reespack.locking.conda_half import CondaSolver
    from reespack.locking.halves import solve_halves
    from reespack.locking.virtual_packages import assumed

    gateway: Gateway = make_gateway(channels)
    client = make_client(channels)
    halves: dict[str, Halves] = {}
    packages: dict[str, VirtualPackages] = {}
    for spec in specs:
        packages[spec.platform] = assumed(spec.platform, given=given.get(spec.platform))
        solver = CondaSolver(
            gateway=gateway,
            settings=channels,
            platform=spec.platform,
            channels=expand_channels(_channel_names(spec), channels),
            assumed=packages[spec.platform],
        )
        halves[spec.platform] = await solve_halves(
            spec,
            solver=solver,
            client=client,
            index=replace(index, offline=True) if channels.offline else index,
            repository=repository,
            cache=channels.cache,
            previous=previous.for_platform(spec.platform) if previous else None,
            commits=_commits(previous, spec),
            update=frozenset({*update, *(canonicalize_name(name) for name in update)}),
            progress=progress,
        )
    md5s = await _md5s([r for one in halves.values() for r in one.conda], client)
    return halves, md5s, packages


def _commits(previous: Lock | None, spec: EnvironmentSpec) -> tuple[GitCommit, ...]:
    """Return where the earlier lock's git URLs led to, with the revisions asked for then."""
    from reespack.locking.pip_half import GitCommit, git_reference

    old = previous.for_platform(spec.platform) if previous else None
    if previous is None or old is None:
        return ()
    metadata = parse_yaml(previous.text, name="conda-lock.yml").get("metadata") or {}
    recorded = str((metadata.get("custom_metadata") or {}).get(REVISIONS + spec.platform, ""))
    revisions = dict(word.split("=", 1) for word in recorded.split())
    found = [(one.name, git_reference(one.url)) for one in old.pip if one.kind == "git"]
    return tuple(
        GitCommit(name=name, url=at[0], revision=revisions[name] or None, commit=at[1])
        for name, at in found
        if at and at[1] and name in revisions
    )


def _channel_names(spec: EnvironmentSpec) -> list[str]:
    """Return the spec's channels, and after them those that only a requirement names."""
    named = [
        request.spec.split("::", 1)[0].strip()
        for request in spec.conda
        if "::" in request.spec.split("[", 1)[0]
    ]
    return list(dict.fromkeys([*spec.channels, *named]))


async def _md5s(records: Iterable[RepoDataRecord], client: Client) -> dict[str, str]:
    """Return the md5 of the packages whose repodata has none: conda-lock's format needs it."""
    from rattler.package_streaming import download_bytes

    sums = {}
    for record in records:
        if record.md5 is not None or record.url in sums:
            continue
        try:
            if record.url.startswith("file:"):
                with open(unquote(urlsplit(record.url).path), "rb") as file:  # noqa: ASYNC230, PTH123
                    content = file.read()
            else:
                content = await download_bytes(client, record.url)
        except Exception as error:  # rattler's own classes, and OSError
            raise LockError(
                f"{record.name.normalized}: its channel says no md5 sum, and the package cannot "
                f"be read to make one",
                detail=str(error),
            ) from error
        sums[record.url] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return sums


def _unmoved(
    specs: Sequence[EnvironmentSpec], halves: Mapping[str, Halves], previous: Lock
) -> dict[str, VirtualPackages]:
    """Return the virtual packages of the platforms on which nothing was chosen anew.

    Those packages were solved for the earlier machine, and were not solved again for this one.
    """
    before = dict(previous.virtual_packages)
    kept = {}
    for spec in specs:
        old, new = previous.for_platform(spec.platform), halves[spec.platform]
        if old is None or spec.platform not in before:
            continue
        conda = {package.url for package in old.conda} == {record.url for record in new.conda}
        pip = {(p.name, p.url) for p in old.pip} == {(p.name, p.url) for p in new.pip}
        if conda and pip:
            kept[spec.platform] = before[spec.platform]
    return kept
