"""Julia's files: recognised, and refused until there is a buildpack that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.buildpack import API, Claim, Contribution, Evidence
from reespack.model import Verdict

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["Julia"]

_PROJECTS = ("JuliaProject.toml", "Project.toml", "REQUIRE")
_MANIFESTS = ("JuliaManifest.toml", "Manifest.toml")


class Julia:
    """Project.toml, JuliaProject.toml and the older REQUIRE, with their manifests."""

    id = "julia"
    api = API
    files: tuple[str, ...] = (*_PROJECTS, *_MANIFESTS)
    slot: str | None = None
    rank = 0

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where one of Julia's project files counts."""
        projects = [path for path in map(repository.find, _PROJECTS) if path]
        if not projects:
            return None
        manifests = [path for path in map(repository.find, _MANIFESTS) if path]
        reason = "Julia repositories are not supported yet"
        return Evidence(
            claims=tuple(
                Claim(path=path, verdict=Verdict.REFUSED, reason=reason)
                for path in (*projects, *manifests)
            ),
            blocking=True,
        )

    def contribute(
        self,
        repository: Repository,  # noqa: ARG002 - a refusal reads nothing
        evidence: Evidence,  # noqa: ARG002
        target: Target,  # noqa: ARG002
    ) -> Contribution:
        """Contribute nothing."""
        return Contribution()
