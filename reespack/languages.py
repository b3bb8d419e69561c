"""Which of several requests decides a language's version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.model import CondaRequirement, LanguageVersion

__all__ = ["VersionChoice", "choose_version"]


class VersionChoice(NamedTuple):
    """The request that counts for a language (None: nobody asks), and those that do not."""

    chosen: CondaRequirement | LanguageVersion | None
    ignored: tuple[LanguageVersion, ...]


def choose_version(
    language: str, conda: Iterable[CondaRequirement], versions: Iterable[LanguageVersion]
) -> VersionChoice:
    """Return who decides: a conda requirement with a version, else the version of highest rank.

    A conda requirement without a version comes last: it leaves the choice to others.
    """
    named = [requirement for requirement in conda if requirement.name == language]
    asked = sorted(
        (version for version in versions if version.language == language),
        key=lambda version: -version.rank,
    )
    pinned = next((one for one in named if _has_version(one)), None)
    if pinned is not None:
        return VersionChoice(chosen=pinned, ignored=tuple(asked))
    if asked:
        return VersionChoice(chosen=asked[0], ignored=tuple(asked[1:]))
    return VersionChoice(chosen=named[0] if named else None, ignored=())


def _has_version(requirement: CondaRequirement) -> bool:
    """Say whether a match spec says more than a name (and perhaps a channel)."""
    bare = requirement.spec.rpartition("::")[2].strip()
    return re.fullmatch(r"[\w.-]+(\s*=?\s*\*)?", bare) is None
