"""The digest that an archive goes by in a store, without reading gigabytes each time.

What is learnt is remembered in the store by the archive's path, size, time and inode. What a
manifest or SHA256SUMS beside the archive says is believed as far as finding an environment goes;
before one is unpacked under that digest, the archive's own sum is taken.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from reespack.archive.names import MANIFEST_BESIDE, beside
from reespack.errors import ArchiveChangedError, ReespackError, UnpackError, VerificationError

__all__ = ["KNOWN", "Snapshot", "digest_of", "known_digest", "remember", "sum_of", "told_beside"]

KNOWN = ".known"
"""The folder of a store in which sums are remembered."""

_SUMS = "SHA256SUMS"


class Snapshot:
    """An archive as it was at one moment, to see later whether it is still the same."""

    def __init__(self, archive: Path) -> None:
        self.archive = Path(os.path.abspath(archive))  # noqa: PTH100 - resolve() follows links
        self._called = archive
        self._status = self._look()
        self.size = self._status[1]

    @property
    def key(self) -> str:
        """What the archive's sum is remembered by, together with its path."""
        return "-".join(f"{number:x}" for number in self._status)

    def require_same(self) -> None:
        """Raise ArchiveChangedError when the file is not what it was."""
        try:
            now = self._look()
        except UnpackError as error:
            raise ArchiveChangedError(
                f"{self.archive} went away while it was read",
                hint="put it back and try again; nothing was installed",
            ) from error
        if now != self._status:
            raise ArchiveChangedError(
                f"{self.archive} changed while it was read",
                hint="wait until it is complete and try again; nothing was installed",
            )

    @property
    def changed(self) -> float:
        """When its content last changed, in seconds since 1970."""
        return self._status[2] / 1e9

    def _look(self) -> tuple[int, int, int]:
        try:
            status = self.archive.stat()
        except OSError as error:
            raise UnpackError(f"{self._called} cannot be read: {error.strerror}") from error
        return status.st_ino, status.st_size, status.st_mtime_ns


def digest_of(snapshot: Snapshot, store: Path) -> str:
    """Return an archive's sha256: remembered, from beside it, or computed now."""
    found = known_digest(snapshot, store) or told_beside(snapshot)
    if found is None:
        found = sum_of(snapshot)
        remember(snapshot, store, found)
    return found


def known_digest(snapshot: Snapshot, store: Path) -> str | None:
    """Return the sha256 that is remembered of an archive."""
    try:
        text = (store / KNOWN / snapshot.key).read_bytes()
    except OSError:
        return None
    digest, _, path = text.rstrip(b"\n").partition(b" ")
    known = path == os.fsencode(snapshot.archive) and re.fullmatch(b"[0-9a-f]{64}", digest)
    return digest.decode() if known else None


def remember(snapshot: Snapshot, store: Path, digest: str) -> None:
    """Remember an archive's sha256; where that cannot be, it is computed again next time."""
    from reespack.files import write_atomic

    line = digest.encode() + b" " + os.fsencode(snapshot.archive) + b"\n"
    with contextlib.suppress(OSError):
        (store / KNOWN).mkdir(exist_ok=True)
        write_atomic(store / KNOWN / snapshot.key, line)


def sum_of(snapshot: Snapshot) -> str:
    """Return the sha256 of an archive's content, which must stay the same meanwhile."""
    from reespack.files import sha256_file

    try:
        digest = sha256_file(snapshot.archive)
    except OSError as error:
        raise UnpackError(f"{snapshot.archive} cannot be read: {error.strerror}") from error
    snapshot.require_same()
    return digest


def told_beside(snapshot: Snapshot) -> str | None:
    """Return the sha256 that SHA256SUMS or the manifest beside an archive has for it, if any."""
    return _from_sums(snapshot) or _from_manifest(snapshot)


def _from_manifest(snapshot: Snapshot) -> str | None:
    """Return what the manifest beside an archive says, unless it is another's.

    One that is older than the archive must be the one that is in it.
    """
    archive = snapshot.archive
    file = beside(archive, MANIFEST_BESIDE)
    try:
        import json

        manifest = json.loads(file.read_bytes())
        digest = str(manifest["archive"]["sha256"])
        if manifest["archive"]["size"] != snapshot.size or not re.fullmatch("[0-9a-f]{64}", digest):
            return None
        if file.stat().st_mtime >= snapshot.changed:
            return digest
        from reespack.unpack import read_manifest

        inside = json.loads(read_manifest(archive))
        same = inside["contents"]["tree_digest"] == manifest["contents"]["tree_digest"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    except ReespackError as error:
        if isinstance(error, VerificationError):
            raise
        return None
    return digest if same and inside["key"] == manifest["key"] else None


def _from_sums(snapshot: Snapshot) -> str | None:
    """Return what SHA256SUMS says, if it is not older than the archive."""
    sums = snapshot.archive.with_name(_SUMS)
    with contextlib.suppress(OSError, ValueError):
        if sums.stat().st_mtime < snapshot.changed:
            return None
        for line in sums.read_text(encoding="utf-8").splitlines():
            found = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
            if found and found[2] == snapshot.archive.name:
                return found[1]
    return None
