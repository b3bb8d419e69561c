"""Dockerfile: refused, since no container is built here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.buildpack import API, Claim, Contribution, Evidence
from reespack.model import Verdict

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["Dockerfile"]


class Dockerfile:
    """The refusal of what needs a container."""

    id = "Dockerfile"
    api = API
    files: tuple[str, ...] = ("Dockerfile",)
    slot: str | None = None
    rank = 0

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a Dockerfile."""
        path = repository.find("Dockerfile")
        if path is None:
            return None
        reason = "a Dockerfile needs a container, and reespack builds none"
        return Evidence(claims=(Claim(path=path, verdict=Verdict.REFUSED, reason=reason),))

    def contribute(
        self,
        repository: Repository,  # noqa: ARG002 - a refusal reads nothing
        evidence: Evidence,  # noqa: ARG002
        target: Target,  # noqa: ARG002
    ) -> Contribution:
        """Contribute nothing."""
        return Contribution()
