"""requirements.txt: pip's own file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from buildpacks.pip_requirements import read_requirements
from reespack.buildpack import API, PACKAGES, Claim, Contribution, Evidence

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["RequirementsTxt"]


class RequirementsTxt:
    """pip's requirements file, with all that it refers to."""

    id = "requirements.txt"
    api = API
    files: tuple[str, ...] = ("requirements.txt",)
    slot: str | None = PACKAGES
    rank = 40

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a requirements.txt."""
        path = repository.find("requirements.txt")
        return Evidence(claims=(Claim(path=path, reason="pip packages"),)) if path else None

    def contribute(
        self,
        repository: Repository,
        evidence: Evidence,
        target: Target,  # noqa: ARG002 - markers are left to the resolver
    ) -> Contribution:
        """Read the file and those it refers to."""
        found = read_requirements(repository, evidence.claims[0].path)
        return replace(found, languages=("python",))
