"""start: runs around every kernel and session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.malformed import at
from buildpacks.scripts import judge_script
from reespack.buildpack import API, Claim, Contribution, Evidence
from reespack.model import Note

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["Start"]


class Start:
    """A script that gets the command as arguments, and must run it."""

    id = "start"
    api = API
    files: tuple[str, ...] = ("start",)
    slot: str | None = None
    rank = 0

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a start."""
        path = repository.find("start")
        return Evidence(claims=(Claim(path=path, reason="runs at launch"),)) if path else None

    def contribute(
        self,
        repository: Repository,
        evidence: Evidence,
        target: Target,  # noqa: ARG002 - the same on every platform
    ) -> Contribution:
        """Name the script; warn when it does not seem to run the command that it is given."""
        path = evidence.claims[0].path
        notes = judge_script(repository, path)
        content = repository.read_bytes(path)
        shell = content.split(b"\n", 1)[0].rstrip().endswith(b"sh")
        if shell and b"$@" not in content and b"$*" not in content:
            message = "does not run the command that it is given, so that no kernel will start"
            note = Note(message=message, hint='end it with `exec "$@"`', origin=at(path))
            notes = (*notes, note)
        return Contribution(start=path, notes=notes)
