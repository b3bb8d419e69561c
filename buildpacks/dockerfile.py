"""Dockerfile: refused, since no container is built here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.refusal import Refusal
from reespack.buildpack import Claim, Evidence
from reespack.model import Verdict

if TYPE_CHECKING:
    from reespack.model import Repository

__all__ = ["Dockerfile"]


class Dockerfile(Refusal):
    """The refusal of what needs a container."""

    id = "Dockerfile"
    files: tuple[str, ...] = ("Dockerfile",)

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a Dockerfile."""
        path = repository.find("Dockerfile")
        if path is None:
            return None
        reason = "a Dockerfile needs a container, and reespack builds none"
        return Evidence(claims=(Claim(path=path, verdict=Verdict.REFUSED, reason=reason),))
