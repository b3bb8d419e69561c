"""What a build knows before it makes anything, and the digest that its archive goes by."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING

from reespack.errors import UsageError
from reespack.key import archive_key
from reespack.value import Value
from reespack.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.config import Settings
    from reespack.model import Detection, EnvironmentSpec, Note, Repository
    from reespack.pipeline.request import BuildOptions
    from reespack.progress import Progress
    from reespack.store import Cache

__all__ = ["Plan", "key_of", "named", "needs_content", "stem_of", "tell"]

DEFAULT_MTIME = 315532800
"""1980-01-01T00:00:00Z, the first moment that every archive format can express."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class Plan(Value):
    """What a build knows before it pins anything; `content` is the digest of the whole tree."""

    detection: Detection
    spec: EnvironmentSpec
    cache: Cache
    settings: Settings
    progress: Progress
    content: str | None

    @property
    def repository(self) -> Repository:
        """The repository that is built."""
        return self.detection.repository

    @property
    def mtime(self) -> int:
        """Every member's time: SOURCE_DATE_EPOCH, else the commit's, else 1980."""
        given = os.environ.get("SOURCE_DATE_EPOCH", "")
        return int(given) if given.isdigit() else self.repository.commit_time or DEFAULT_MTIME


def named(detection: Detection, name: str | None) -> Detection:
    """Let the repository go by another name; it becomes part of file names."""
    if name is None:
        return detection
    if not re.fullmatch(_NAME, name):
        raise UsageError(
            f"{name!r} cannot be part of a file name",
            hint="use letters, digits, dots, hyphens and underscores",
        )
    repository = dataclasses.replace(detection.repository, name=name)
    return dataclasses.replace(detection, repository=repository)


def needs_content(spec: EnvironmentSpec) -> bool:
    """Say whether more of the repository than its REES files has a part in the build."""
    hooks = spec.post_build is not None or spec.start is not None
    return hooks or any(requirement.path is not None for requirement in spec.pip)


def key_of(plan: Plan, lock_digest: str, options: BuildOptions) -> str:
    """Return the key of the archive that a plan and a lock lead to."""
    return archive_key(
        plan.spec,
        plan.detection,
        lock_digest=lock_digest,
        version=VERSION,
        content=plan.content,
        name=plan.repository.name,
        archive_format=options.format,
        mtime=plan.mtime,
    )


def stem_of(plan: Plan, key: str) -> str:
    """Return what the names of a build's files begin with."""
    return f"{plan.repository.name}-{key}-{plan.spec.platform}"


def tell(notes: Sequence[Note], progress: Progress) -> None:
    """Pass notes on, each once however many platforms it holds for."""
    for note in dict.fromkeys(notes):
        message = f"{note.origin}: {note.message}" if note.origin else note.message
        if note.level == "warning":
            progress.warn(message, hint=note.hint)
        else:
            progress.detail(message)
