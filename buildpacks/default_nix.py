"""default.nix: refused, since Nix needs a store of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.refusal import Refusal
from reespack.buildpack import Claim, Evidence
from reespack.model import Verdict

if TYPE_CHECKING:
    from reespack.model import Repository

__all__ = ["DefaultNix"]


class DefaultNix(Refusal):
    """The refusal of what needs Nix."""

    id = "default.nix"
    files: tuple[str, ...] = ("default.nix",)

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a default.nix."""
        path = repository.find("default.nix")
        if path is None:
            return None
        reason = "a Nix expression needs Nix, and reespack builds with conda"
        return Evidence(claims=(Claim(path=path, verdict=Verdict.REFUSED, reason=reason),))
