"""Bringing the two halves of a lock together, on one platform.

conda is asked first, then uv around what conda brings. Where a pip requirement contradicts a
distribution of the conda half, conda is asked again for a version that will do; only when no
channel has one does pip's choice take the place of conda's package, as `conda env create` has it.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from reespack.errors import LockError, UnsatisfiableError
from reespack.locking.conda_half import quoted_requests
from reespack.locking.pip_half import (
    GitCommit,
    PipRequest,
    PipResult,
    Unresolvable,
    name_of,
    resolve,
)
from reespack.locking.projects import place_to_build
from reespack.locking.provided import Provided, find_provided, read_extras
from reespack.locking.pylock import distributions, versions
from reespack.model import Note
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rattler import RepoDataRecord
    from rattler.networking import Client

    from reespack.locking.conda_half import CondaSolver
    from reespack.model import EnvironmentSpec, Repository
    from reespack.package_index import PackageIndex
    from reespack.products import LockedPip, PlatformLock
    from reespack.progress import Progress

__all__ = ["Halves", "solve_halves"]

_NOT_FOUND = re.compile(r"Because (\S+) was not found in the (package registry|provided|cache)")

ROUNDS = 8
"""How often conda is asked again before pip's choices are taken as they are."""


class Halves(Value):
    """What was chosen for one platform; `provided` are the distributions that conda brings."""

    conda: tuple[RepoDataRecord, ...]
    pip: tuple[LockedPip, ...] = ()
    provided: Mapping[str, Provided] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


async def solve_halves(  # noqa: PLR0913 - its collaborators
    spec: EnvironmentSpec,
    *,
    solver: CondaSolver,
    client: Client,
    index: PackageIndex,
    repository: Repository,
    cache: Path,
    previous: PlatformLock | None,
    update: frozenset[str],
    commits: tuple[GitCommit, ...] = (),
    progress: Progress,
) -> Halves:
    """Choose the packages for one platform, preferring those of `previous` but for `update`.

    `commits` are where git URLs led to then.
    """
    kept = [p for p in previous.conda if p.name not in update] if previous else []
    locked = await solver.records(kept) if kept else []
    progress.step(f"Solving the conda packages for {spec.platform}")
    records = await solver.solve(spec.conda, locked=locked)
    if not spec.pip:
        return Halves(conda=tuple(records))
    preferred = tuple((p.name, p.version) for p in previous.pip) if previous else ()
    with tempfile.TemporaryDirectory(prefix="reespack-lock-") as scratch:
        folder = Path(os.path.realpath(scratch))  # noqa: ASYNC240 - nothing else waits
        search = _Search(
            spec=spec,
            solver=solver,
            client=client,
            index=index,
            root=place_to_build(spec.pip, repository, folder),
            cache=cache,
            folder=folder,
            preferred=tuple((n, v) for n, v in preferred if n not in update),
            commits=tuple(one for one in commits if one.name not in update),
            locked=locked,
            records=records,
            progress=progress,
        )
        return await search.run()


@dataclass(slots=True, kw_only=True)
class _Search:
    """The state of the search: what conda has chosen, with which further specs, and its gaps."""

    spec: EnvironmentSpec
    solver: CondaSolver
    client: Client
    index: PackageIndex
    root: Path
    cache: Path
    folder: Path
    preferred: tuple[tuple[str, str], ...]
    commits: tuple[GitCommit, ...]
    locked: list[RepoDataRecord]
    records: list[RepoDataRecord]
    progress: Progress
    provided: dict[str, Provided] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    overridden: dict[str, Provided] = field(default_factory=dict)
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def run(self) -> Halves:
        """Ask uv, and conda again where uv says no, until both agree."""
        await self._look_into_packages()
        self._leave_urls_to_pip()
        self.progress.step(f"Resolving the pip packages for {self.spec.platform}")
        result = await self._resolve(self._stubs())
        for _ in range(ROUNDS):
            if isinstance(result, PipResult):
                break
            wanted = await self._conflicts(result)
            await self._meet(wanted)
            result = await self._resolve(self._stubs())
        while isinstance(result, Unresolvable):
            wanted = await self._conflicts(result)
            self._override(wanted)
            result = await self._resolve(self._stubs())
        return self._done(result)

    def _done(self, result: PipResult) -> Halves:
        pip = distributions(
            result,
            self._request(),
            provided=self._stubs(),
            overrides=frozenset(self.overridden),
        )
        chosen = {p.name: p.version for p in pip}
        notes = tuple(
            Note(
                message=f"pip's {name} {chosen[name]} takes the place of {one.package} "
                f"{one.version} from the channel, as the pip requirements ask",
                hint="ask for a version that both have, or leave one of the two requests out",
                origin=next((r.origin for r in self.spec.pip if name_of(r) == name), None),
            )
            for name, one in sorted(self.overridden.items())
            if name in chosen
        )
        return Halves(conda=tuple(self.records), pip=pip, provided=self.provided, notes=notes)

    # --- the two that are asked ----------------------------------------------------------------

    async def _look_into_packages(self) -> None:
        self.provided = await find_provided(self.records, client=self.client, cache=self.cache)

    def _stubs(self) -> dict[str, Provided]:
        return {name: p for name, p in self.provided.items() if name not in self.overridden}

    def _request(self) -> PipRequest:
        assumed = {name: version for name, version, _ in self.solver.assumed}
        return PipRequest(
            requirements=self.spec.pip,
            constraints=self.spec.pip_constraints,
            options=self.spec.pip_options,
            root=self.root,
            platform=self.spec.platform,
            python=self._python(),
            glibc=assumed.get("__glibc"),
            osx=assumed.get("__osx"),
            preferred=self.preferred,
            commits=self.commits,
        )

    def _python(self) -> str:
        for record in self.records:
            if record.name.normalized == "python":
                return str(record.version)
        first = self.spec.pip[0]
        raise LockError(
            f"{first.origin}: pip requirements need Python, and the conda packages bring none",
            hint="add python to the conda dependencies",
        )

    async def _resolve(
        self, stubs: Mapping[str, Provided], request: PipRequest | None = None
    ) -> PipResult | Unresolvable:
        """Ask uv; look up what a conda package says of its extras when one is asked for."""
        while True:
            try:
                result = resolve(
                    request or self._request(),
                    stubs,
                    extras=self.extras,
                    index=self.index,
                    folder=self.folder,
                    cache=self.cache,
                )
            except Unresolvable as failure:
                return failure
            unread = (result.without_extras & stubs.keys()) - self.extras.keys()
            if not unread:
                return result
            for name in sorted(unread):
                self.extras[name] = await read_extras(stubs[name], self.client)

    # --- where they contradict -----------------------------------------------------------------

    def _leave_urls_to_pip(self) -> None:
        """A requirement that names a file or a project is met by nothing else."""
        direct = {name_of(r) for r in self.spec.pip if r.path is not None or " @ " in r.text}
        self._override({name: "" for name in direct if name in self.provided})

    def _override(self, wanted: Mapping[str, str]) -> None:
        self.overridden |= {name: self.provided[name] for name in wanted}

    async def _conflicts(self, failure: Unresolvable) -> dict[str, str]:
        """Return the provided distributions that are in the way, with the version uv would take.

        Those that uv's explanation names are set free, with conda's version still preferred, and
        the ones that come out different are put back one by one to see which are to blame.
        Raises UnsatisfiableError when the pip requirements contradict each other.
        """
        stubs = self._stubs()
        request = self._request().preferring((p.name, p.version) for p in stubs.values())
        free: set[str] = set()
        outcome: PipResult | Unresolvable = failure
        while isinstance(outcome, Unresolvable):
            named = _named(outcome.explanation, stubs.keys() - free)
            if not named:
                raise self._unsatisfiable(outcome.explanation)
            free |= named
            outcome = await self._resolve(
                {n: p for n, p in stubs.items() if n not in free}, request
            )
        chosen = versions(outcome)
        different = sorted(
            name for name in free if name in chosen and not _same(chosen[name], stubs[name])
        )
        for name in different if len(different) > 1 else ():
            fewer = {n: p for n, p in stubs.items() if n not in free or n == name}
            again = await self._resolve(fewer, request)
            if isinstance(again, PipResult):
                free.discard(name)
                chosen = versions(again)
        wanted = {n: chosen[n] for n in different if n in free and n in chosen}
        if not wanted:
            raise self._unsatisfiable(failure.explanation)
        return wanted

    async def _meet(self, wanted: Mapping[str, str]) -> None:
        """Ask conda for packages that bring versions pip will take; override where it has none."""
        for name, version in sorted(wanted.items()):
            package = self.provided[name].package
            before = self.records, self.provided, dict(self.added)
            for more in self._specs(name, package, version):
                if self.added.get(package) == more:
                    continue
                self.added[package] = more
                try:
                    self.records = await self.solver.solve(
                        self.spec.conda, more=self.added.values(), locked=self.locked
                    )
                except UnsatisfiableError as error:
                    self.progress.detail(f"no {more} in the channels: {error.detail}")
                    continue
                await self._look_into_packages()
                if not isinstance(await self._resolve(self._only(name)), Unresolvable):
                    self.progress.detail(f"conda is asked for {more}, which pip needs")
                    break
            else:
                self.records, self.provided, self.added = before
                self._override({name: version})

    def _only(self, name: str) -> dict[str, Provided]:
        """Return the stub of `name` alone: a test of that one version."""
        return {n: p for n, p in self._stubs().items() if n == name}

    def _specs(self, name: str, package: str, version: str) -> list[str]:
        """Return match specs to try, from what was asked for to the very version that uv took."""
        specs = []
        asked = [_specifier(r.text) for r in self.spec.pip if name_of(r) == name]
        if specifier := ",".join(one for one in asked if one):
            specs.append(f"{package} {specifier}")
        parts = version.split(".")
        specs.append(f"{package} =={version}")
        if len(parts) > 2:  # noqa: PLR2004 - major.minor.micro
            specs.append(f"{package} {parts[0]}.{parts[1]}.*")
        return specs

    def _unsatisfiable(self, explanation: str) -> UnsatisfiableError:
        requests = [(r.origin, r.text, name_of(r) or r.text) for r in self.spec.pip]
        requests += [(r.origin, r.text, name_of(r) or r.text) for r in self.spec.pip_constraints]
        missing = _NOT_FOUND.search(explanation)
        message = (
            f"the pip requirements cannot be met for Python {self._python()} "
            f"on {self.spec.platform}"
        )
        hint = "relax one of the requirements below"
        if re.search(r"has no wheels with a matching|no usable wheels", explanation):
            hint = "ask for another version, or for a Python that it has wheels for"
        if missing:
            origin = next((f"{o}: " for o, _, n in requests if n == missing[1]), "")
            message = f"{origin}no package named {missing[1]!r} on the package index"
            hint = "check the spelling, or name the index that has it (--extra-index-url)"
            if missing[2] == "cache":
                message = f"{origin}{missing[1]!r} is not in uv's cache, and this is offline"
                hint = "lock once with the network, or name a folder of wheels (--find-links)"
        detail = "\n\n".join(
            part for part in (explanation, quoted_requests(requests, explanation)) if part
        )
        return UnsatisfiableError(message, hint=hint, detail=detail)


def _named(explanation: str, names: set[str]) -> set[str]:
    """Return which of `names` an explanation of uv's speaks of."""
    words = {re.sub(r"[._]+", "-", word) for word in re.findall(r"[a-z0-9._-]+", explanation)}
    # `numpy==1.26.4` is one word to the eye and two to the pattern; a final dot is a full stop.
    return {name for name in names if name in {word.strip("-") for word in words}}


def _same(version: str, one: Provided) -> bool:
    try:
        return Version(version) == Version(one.version)
    except InvalidVersion:
        return version == one.version


def _specifier(text: str) -> str:
    """Return the version part of a requirement, in the words that conda shares with pip."""
    try:
        specifier = Requirement(text).specifier
    except InvalidRequirement:
        return ""
    if any(one.operator == "===" for one in specifier):
        return ""
    return ",".join(sorted(str(one) for one in specifier))
