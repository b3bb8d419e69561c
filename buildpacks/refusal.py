"""What the refusals share: they speak for files, and add nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.buildpack import API, Contribution, Evidence

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["Refusal"]


class Refusal:
    """A buildpack that contributes nothing; its `detect` says what is refused, and why."""

    api = API
    slot: str | None = None
    rank = 0

    def contribute(
        self,
        repository: Repository,  # noqa: ARG002 - a refusal reads nothing
        evidence: Evidence,  # noqa: ARG002
        target: Target,  # noqa: ARG002
    ) -> Contribution:
        """Contribute nothing."""
        return Contribution()
