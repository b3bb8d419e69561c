"""Lockfiles that a repository brings: conda-lock's, and conda's explicit lists of URLs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from buildpacks.environment_yml import EnvironmentYml
from buildpacks.malformed import at, malformed
from buildpacks.pipfile import Pipfile
from buildpacks.project import Project
from buildpacks.requirements_txt import RequirementsTxt
from reespack.buildpack import API, PACKAGES, Claim, Contribution, Evidence
from reespack.errors import SpecError
from reespack.model import LockfileInput, Verdict

if TYPE_CHECKING:
    from reespack.buildpack import Buildpack
    from reespack.model import Repository, Target

__all__ = ["Lockfiles"]

_CONDA_LOCK = ("conda-lock.yml", "conda-lock.yaml")
_PLATFORM = r"(?:linux|osx|win|emscripten|wasi|freebsd)-[a-z0-9_]+"
_IN_NAME = rf"({_PLATFORM})\.lock$"
_IN_TEXT = rf"(?m)^#\s*platform:\s*({_PLATFORM})\s*$"
_EXPLICIT = r"(?m)^@EXPLICIT\s*$"


class Lockfiles:
    """A committed lock wins over every other list of packages; the first of those is its source."""

    id = "lockfile"
    api = API
    files: tuple[str, ...] = (*_CONDA_LOCK, "conda-*.lock")
    slot: str | None = PACKAGES
    rank = 100

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a conda-lock.yml, or an explicit list under a name in `.lock`."""
        locks = [path for path in map(repository.find, _CONDA_LOCK) if path]
        locks += _explicit_files(repository)
        if not locks:
            return None
        used = [Claim(path=path, reason="the lock is used as it is") for path in locks]
        _, source = _source(repository)
        return Evidence(claims=(*used, *_as_source(source)))

    def contribute(
        self, repository: Repository, evidence: Evidence, target: Target
    ) -> Contribution:
        """Name the lock for the target, and read the file that it was made from.

        Raises MalformedFileError for what is no lockfile, and SpecError when no lock is for the
        target and nothing is there to make one from.
        """
        locks = [
            _judge(repository, claim.path)
            for claim in evidence.claims
            if claim.path.endswith((*_CONDA_LOCK, ".lock"))
        ]
        fitting = [lock for lock in locks if lock.platform in {None, target.platform}]
        chosen = fitting[0] if fitting else None
        source, found = _source(repository)
        requests = source.contribute(repository, found, target) if found else Contribution()
        if chosen is None and found is None:
            others = ", ".join(f"{lock.path} is for {lock.platform}" for lock in locks)
            raise SpecError(
                f"no lockfile is for {target.platform}: {others}",
                hint="commit the environment.yml that it was made from, or a lock for the platform",
            )
        ignored = [lock for lock in locks if lock is not chosen]
        return replace(
            requests,
            lockfile=chosen,
            languages=("python",),
            claims=tuple(_ignored(lock, chosen, target) for lock in ignored),
        )


def _source(repository: Repository) -> tuple[Buildpack, Evidence | None]:
    """Return the buildpack that a new lock would be made from, and what it finds."""
    sources: tuple[Buildpack, ...] = (EnvironmentYml(), Pipfile(), RequirementsTxt(), Project())
    for source in sources:
        evidence = source.detect(repository)
        if evidence and any(claim.verdict is Verdict.USED for claim in evidence.claims):
            return source, evidence
    return sources[0], sources[0].detect(repository)


def _as_source(evidence: Evidence | None) -> list[Claim]:
    if evidence is None:
        return []
    return [
        replace(claim, reason="the source of the lock") if claim.verdict is Verdict.USED else claim
        for claim in evidence.claims
    ]


def _explicit_files(repository: Repository) -> list[str]:
    """Return the `.lock` files that are conda's: by name, or because they say @EXPLICIT."""
    folder = repository.config_folder
    names = sorted(path.name for path in (repository.root / folder).glob("*.lock"))
    paths = [f"{folder}/{name}" if folder else name for name in names]
    return [
        path
        for path in paths
        if repository.is_file(path)
        and (re.search(rf"conda-{_PLATFORM}\.lock$", path) or _is_explicit(repository, path))
    ]


def _is_explicit(repository: Repository, path: str) -> bool:
    content = repository.resolve(path).read_bytes()
    return re.search(_EXPLICIT, content.decode("utf-8", errors="replace")) is not None


def _judge(repository: Repository, path: str) -> LockfileInput:
    """Return what a lockfile is; reading all of it is the lock phase's business."""
    text = repository.read_text(path)
    if path.endswith(_CONDA_LOCK):
        _require_conda_lock(text, path)
        return LockfileInput(path=path, kind="conda-lock")
    if not re.search(_EXPLICIT, text):
        raise malformed(
            at(path, 1),
            "is not an explicit lockfile: it has no line `@EXPLICIT`",
            "`conda list --explicit --md5` and `conda-lock render` write one",
        )
    platform = re.search(_IN_TEXT, text) or re.search(_IN_NAME, path)
    return LockfileInput(path=path, kind="explicit", platform=platform[1] if platform else None)


def _require_conda_lock(text: str, path: str) -> None:
    # parsing thousands of lines of YAML takes seconds; the keys at the margin say enough
    keys = {
        line.split(":")[0].strip(): line for line in text.split("\n") if re.match(r"\w+:", line)
    }
    version = keys.get("version", "").partition(":")[2].partition("#")[0].strip()
    if not {"version", "metadata", "package"} <= keys.keys():
        raise malformed(
            at(path, 1),
            "is not a lockfile of conda-lock's: it lacks version, metadata or package",
            "`reespack lock` and `conda-lock lock` write one",
        )
    if version != "1":
        line = text.split("\n").index(keys["version"]) + 1
        raise malformed(at(path, line), f"has format version {version}; reespack reads version 1")


def _ignored(lock: LockfileInput, chosen: LockfileInput | None, target: Target) -> Claim:
    if lock.platform not in {None, target.platform}:
        reason = f"it is for {lock.platform}, not {target.platform}"
    else:
        reason = f"{chosen.path if chosen else 'another lock'} comes before it"
    return Claim(path=lock.path, verdict=Verdict.IGNORED, reason=reason)
