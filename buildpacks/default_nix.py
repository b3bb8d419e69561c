"""default.nix: refused, since Nix needs a store of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.buildpack import API, Claim, Contribution, Evidence
from reespack.model import Verdict

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["DefaultNix"]


class DefaultNix:
    """The refusal of what needs Nix."""

    id = "default.nix"
    api = API
    files: tuple[str, ...] = ("default.nix",)
    slot: str | None = None
    rank = 0

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a default.nix."""
        path = repository.find("default.nix")
        if path is None:
            return None
        reason = "a Nix expression needs Nix, and reespack builds with conda"
        return Evidence(claims=(Claim(path=path, verdict=Verdict.REFUSED, reason=reason),))

    def contribute(
        self,
        repository: Repository,  # noqa: ARG002 - a refusal reads nothing
        evidence: Evidence,  # noqa: ARG002
        target: Target,  # noqa: ARG002
    ) -> Contribution:
        """Contribute nothing."""
        return Contribution()
