"""What a buildpack is: two pure methods, found through an entry point.

A third party writes a class with these members and registers it in the entry-point group
`reespack.buildpacks`; the built-ins in `buildpacks/` come through the same door. A buildpack reads
the repository through the value it is handed and nothing else: no network, no working folder, no
subprocess, no clock. It returns data, never shell text.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from reespack.model import (
    CondaRequirement,
    LanguageVersion,
    LockfileInput,
    Note,
    Origin,
    PipOptions,
    PipRequirement,
    Repository,
    SystemPackage,
    Target,
    Verdict,
)
from reespack.value import Value

__all__ = ["API", "PACKAGES", "Buildpack", "Claim", "Contribution", "Evidence"]

API = 1
"""The version of this interface; a buildpack with another `api` is an error at load."""

PACKAGES = "packages"
"""The slot of the buildpacks that say which packages the environment is made of."""


class Claim(Value):
    """What a buildpack says of one file: its verdict and, in a few words, why."""

    path: str
    verdict: Verdict = Verdict.USED
    reason: str = ""


class Evidence(Value):
    """That a buildpack applies: the files it speaks for.

    `blocking` matters for refusals only: a blocking one refuses the whole repository, another
    refuses it only when nothing usable stands beside it and is a warning otherwise.
    """

    claims: tuple[Claim, ...]
    blocking: bool = False


class Contribution(Value):
    """What a buildpack adds to the environment, as data.

    `channels` pair a channel with its origin, in order. `reads` are the files read beyond those
    claimed (a requirements file's `-r`), each with the place that refers to it; their verdict
    becomes "used". `languages` are those that need a kernel. `claims` are verdicts that only the
    content or the target decides (a lockfile for another platform); they replace the evidence's.
    """

    channels: tuple[tuple[str, Origin], ...] = ()
    conda: tuple[CondaRequirement, ...] = ()
    pip: tuple[PipRequirement, ...] = ()
    pip_constraints: tuple[PipRequirement, ...] = ()
    pip_options: PipOptions = PipOptions()
    language_versions: tuple[LanguageVersion, ...] = ()
    system_packages: tuple[SystemPackage, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    post_build: str | None = None
    start: str | None = None
    lockfile: LockfileInput | None = None
    languages: tuple[str, ...] = ()
    reads: tuple[tuple[str, Origin], ...] = ()
    claims: tuple[Claim, ...] = ()
    notes: tuple[Note, ...] = ()


@runtime_checkable
class Buildpack(Protocol):
    """A way to read some of a repository's files.

    Of the buildpacks that share a `slot`, only the one with the highest `rank` whose evidence
    holds a used file contributes; the files of the others are reported as ignored, in favour of
    its. A buildpack without a slot applies beside any other. `files` are the names, or patterns as
    `fnmatch` has them, of the files it speaks for: where one of them lies and nobody claims it (in
    the root, when a binder folder exists), it is reported as ignored.
    """

    id: str
    api: int
    files: tuple[str, ...]
    slot: str | None
    rank: int

    def detect(self, repository: Repository) -> Evidence | None:
        """Say which files are spoken for and why; None when the buildpack does not apply."""

    def contribute(
        self, repository: Repository, evidence: Evidence, target: Target
    ) -> Contribution:
        """Read the files; raise MalformedFileError, naming file and line, when they cannot be."""
