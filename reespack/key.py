"""The digests that name what was built: of everything that decides a lock, and an archive."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reespack.model import Detection, EnvironmentSpec

__all__ = ["archive_key", "lock_key"]

KEY_LENGTH = 12
"""Hexadecimal digits of a key that stand in a file name (48 bits)."""


def lock_key(
    spec: EnvironmentSpec, *, version: str, content: str | None, sources: Mapping[str, object]
) -> str:
    """Return the digest of everything that decides a lock, as 64 hexadecimal digits.

    `version` is reespack's; `content` the digest of the repository's tree when a project in it is
    to be built, else None; `sources` says where packages come from (channels' URLs, the index).
    """
    return _digest(
        {
            "version": version,
            "spec": _without_notes(spec),
            "content": content,
            "sources": dict(sources),
            "overrides": {k: v for k, v in os.environ.items() if k.startswith("CONDA_OVERRIDE_")},
            "machine": [os.uname().machine, os.confstr("CS_GNU_LIBC_VERSION")],
        }
    )


def archive_key(  # noqa: PLR0913 - all of it decides the content
    spec: EnvironmentSpec,
    detection: Detection,
    *,
    lock_digest: str,
    version: str,
    content: str | None,
    name: str,
    archive_format: str,
    mtime: int,
) -> str:
    """Return the digest of everything that decides an archive, as 12 hexadecimal digits.

    `lock_digest` is the sha256 of the lock's text, `content` the digest of the repository's tree
    when more of it than the REES files has a part in the build (postBuild, start, a project).
    """
    repository = detection.repository
    whole = _digest(
        {
            "version": version,
            "spec": _without_notes(spec),
            "files": [dataclasses.asdict(file) for file in detection.files],
            "buildpacks": detection.buildpacks,
            "repository": [repository.url, repository.commit, repository.dirty, repository.subdir],
            "lock": lock_digest,
            "content": content,
            "name": name,
            "format": archive_format,
            "mtime": mtime,
        }
    )
    return whole[:KEY_LENGTH]


def _without_notes(spec: EnvironmentSpec) -> dict[str, Any]:
    return {**dataclasses.asdict(spec), "notes": None}


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
