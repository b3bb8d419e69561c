"""apt.txt: Debian's names for what the system should have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildpacks.malformed import at, malformed
from reespack.buildpack import API, Claim, Contribution, Evidence
from reespack.model import SystemPackage

if TYPE_CHECKING:
    from reespack.model import Origin, Repository, Target

__all__ = ["AptTxt"]

_NAME = r"[a-z0-9][a-z0-9+.-]+"
"""Debian policy 5.6.1: lower case, digits, plus, minus, dot; at least two characters."""


class AptTxt:
    """Names of system packages; what becomes of them is the spec's business."""

    id = "apt.txt"
    api = API
    files: tuple[str, ...] = ("apt.txt",)
    slot: str | None = None
    rank = 0

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is an apt.txt."""
        path = repository.find("apt.txt")
        reason = "names become conda packages"
        return Evidence(claims=(Claim(path=path, reason=reason),)) if path else None

    def contribute(
        self,
        repository: Repository,
        evidence: Evidence,
        target: Target,  # noqa: ARG002 - the same on every platform
    ) -> Contribution:
        """Return the names, each once; raise MalformedFileError for what is none."""
        path = evidence.claims[0].path
        found: dict[str, SystemPackage] = {}
        for number, line in enumerate(repository.read_text(path).split("\n"), start=1):
            for word in line.partition("#")[0].split():
                name = _checked(word, at(path, number))
                found.setdefault(name, SystemPackage(name=name, origin=at(path, number)))
        return Contribution(system_packages=tuple(found.values()))


def _checked(word: str, origin: Origin) -> str:
    """Return `word` if it is a Debian package's name, and nothing more than that."""
    if re.fullmatch(_NAME, word):
        return word
    bare = re.match(r"[a-z0-9][a-z0-9+.-]+(?=[=:/])", word)
    if word.startswith("-"):
        hint = "apt-get's options have no meaning here"
    elif bare:
        hint = f"write `{bare.group()}` alone: versions, architectures and releases do not apply"
    elif re.fullmatch(_NAME, word.lower()):
        hint = f"did you mean `{word.lower()}`?"
    else:
        hint = "names only, with spaces or line ends between them"
    raise malformed(origin, f"`{word}` is not the name of a Debian package", hint)
