"""Builds in the cache, and whether they are still as they were kept.

What was delivered may be the same file as what is kept (a link), so whoever writes into the one
changes the other, and a file system may lose what it has. The archive's size and small files are
looked at; what else is wrong is found when the archive is unpacked or verified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reespack.errors import VerificationError
from reespack.files import sha256_file
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reespack.store import Cache

__all__ = ["ARCHIVE", "FRAMES", "LAUNCHER", "LOCKFILE", "MANIFEST", "Kept", "find", "keep"]

ARCHIVE = "archive"
FRAMES = "frames.json"
"""What an archive's frames are known by: see `reespack.pack.earlier`."""
LAUNCHER = "kernelspec"
"""The kernelspec that unpacks the archive, a folder."""
LOCKFILE = "conda-lock.yml"
MANIFEST = "manifest.json"


class Kept(Value):
    """A build's files, in `folder` under the names above, and the manifest among them."""

    folder: Path
    manifest: dict[str, Any]


def find(cache: Cache, key: str) -> Kept | None:
    """Return the build that is kept under `key`, or None; one that is damaged is none."""
    for folder in cache.find_artifacts(key):
        kept = _read(folder)
        if kept is not None:
            return kept
    return None


def keep(cache: Cache, key: str, files: Mapping[str, Path]) -> Kept:
    """Keep a build's files (name -> where each is now) under `key`, which the caller has locked.

    One that is whole stays as it is, one that is damaged makes room. Raises ConfigError when the
    cache cannot be written to.
    """
    kept = find(cache, key)
    if kept is None:
        cache.discard_artifact(key)
        kept = _read(cache.keep_artifact(key, files))
    if kept is None:
        raise VerificationError(
            "the build was damaged as soon as it was kept", hint="look at the cache's file system"
        )
    return kept


def _read(folder: Path) -> Kept | None:
    """Return the build whose files are in `folder`; None unless they fit its manifest."""
    from reespack.manifest import parse_manifest

    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes())
        whole = (
            (folder / ARCHIVE).stat().st_size == manifest["archive"]["size"]
            and sha256_file(folder / LOCKFILE) == manifest["lock"]["sha256"]
            and (folder / LAUNCHER / "kernel.json").stat().st_size > 0
        )
    except (OSError, VerificationError, KeyError, TypeError):
        return None
    return Kept(folder=folder, manifest=manifest) if whole else None
