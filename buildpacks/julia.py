"""Julia's files: recognised, and refused until there is a buildpack that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.refusal import Refusal
from reespack.buildpack import Claim, Evidence
from reespack.model import Verdict

if TYPE_CHECKING:
    from reespack.model import Repository

__all__ = ["Julia"]

_PROJECTS = ("JuliaProject.toml", "Project.toml", "REQUIRE")
_MANIFESTS = ("JuliaManifest.toml", "Manifest.toml")


class Julia(Refusal):
    """Project.toml, JuliaProject.toml and the older REQUIRE, with their manifests."""

    id = "julia"
    files: tuple[str, ...] = (*_PROJECTS, *_MANIFESTS)

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
