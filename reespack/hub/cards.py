"""What a person sees of an environment before choosing it: read from the manifest beside it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from reespack.archive.names import MANIFEST_BESIDE, beside
from reespack.errors import ReespackError
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reespack.catalog import Entry

__all__ = ["Card", "Cards"]

_LANGUAGES = {
    "python": ("Python", "python"),
    "r": ("R", "r-base"),
    "julia": ("Julia", "julia"),
}
_LARGEST = 32 << 20


class Card(Value):
    """An entry, and what its archive says of itself; `size` in bytes, as packed.

    `state` is `ready`, `unbuilt` (a repository whose archive is yet to be built) or `missing`.
    """

    entry: Entry
    state: str
    languages: tuple[str, ...] = ()
    size: int | None = None
    built: str | None = None


class Cards:
    """Cards of entries; a manifest is read again only when its archive has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], Card]] = {}

    def make(self, entries: Iterable[tuple[Entry, Path | None]]) -> tuple[Card, ...]:
        """Return the cards of entries and their archives (None: yet to be built). Reads files."""
        return tuple(self._card(entry, archive) for entry, archive in entries)

    def _card(self, entry: Entry, archive: Path | None) -> Card:
        if archive is None:
            return Card(entry=entry, state="unbuilt")
        try:
            status = archive.stat()
        except OSError:
            return Card(entry=entry, state="missing")
        seen = (status.st_mtime_ns, status.st_size)
        known = self._known.get(archive)
        if known is None or known[0] != seen or known[1].entry != entry:
            card = Card(
                entry=entry,
                state="ready",
                languages=_languages(_manifest(archive)),
                size=status.st_size,
                built=time.strftime("%Y-%m-%d", time.gmtime(status.st_mtime)),
            )
            known = self._known[archive] = (seen, card)
        return known[1]


def _manifest(archive: Path) -> dict[str, Any]:
    """Return the manifest beside an archive, else the one in it; empty when there is none."""
    from reespack.manifest import parse_manifest
    from reespack.unpack import read_manifest

    manifest = beside(archive, MANIFEST_BESIDE)
    try:
        if manifest.stat().st_size <= _LARGEST:
            return dict(json.loads(manifest.read_bytes()))
    except (OSError, ValueError, TypeError):
        pass
    try:
        return parse_manifest(read_manifest(archive))
    except (OSError, ReespackError):
        return {}


def _languages(manifest: dict[str, Any]) -> tuple[str, ...]:
    """Return the languages of the kernels, with versions where a package says them."""
    try:
        versions = {one["name"]: one["version"] for one in manifest.get("conda", ())}
        spoken = dict.fromkeys(one["language"] for one in manifest.get("kernelspecs", ()))
    except (LookupError, TypeError):
        return ()
    found = []
    for language in spoken:
        shown, package = _LANGUAGES.get(str(language).lower(), (str(language), ""))
        found.append(f"{shown} {versions.get(package, '')}".strip())
    return tuple(found)
