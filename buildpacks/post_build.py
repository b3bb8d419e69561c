"""postBuild: runs once, when the packages are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.scripts import judge_script
from reespack.buildpack import API, Claim, Contribution, Evidence

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["PostBuild"]


class PostBuild:
    """A script that finishes the environment."""

    id = "postBuild"
    api = API
    files: tuple[str, ...] = ("postBuild",)
    slot: str | None = None
    rank = 0

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a postBuild."""
        path = repository.find("postBuild")
        return (
            Evidence(claims=(Claim(path=path, reason="runs after the install"),)) if path else None
        )

    def contribute(
        self,
        repository: Repository,
        evidence: Evidence,
        target: Target,  # noqa: ARG002 - the same on every platform
    ) -> Contribution:
        """Name the script; raise MalformedFileError when no system would run it."""
        path = evidence.claims[0].path
        return Contribution(post_build=path, notes=judge_script(repository, path))
