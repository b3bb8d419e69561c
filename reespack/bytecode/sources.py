"""Which Python sources a prefix holds, and to which package each belongs.

A package is known by a digest: a conda package by its file's, anything else by the contents that it
consists of. A source belongs to a package when nobody but that package speaks for it, and nothing
was recorded that changed it.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import posixpath
from typing import TYPE_CHECKING, Any

from reespack.errors import PackError
from reespack.files import sha256_bytes
from reespack.site_packages import site_packages
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reespack.products import Prefix

__all__ = ["Package", "python_sources"]


_LIBRARY = "lib/python3."
_PASSED_OVER = frozenset({"test", "tests", "__pycache__"})


class Package(Value):
    """Sources that are compiled, and kept, together.

    `sources` are paths in the prefix with the sha256 that the package says they have (None when it
    does not say); one that has another is none of the package's, and nobody's. `records` are the
    RECORDs of distributions that a conda package brought.
    """

    key: str
    sources: Mapping[str, str | None]
    records: tuple[str, ...] = ()


def python_sources(
    prefix: Prefix, records: Sequence[Mapping[str, Any]], files: Iterable[str]
) -> tuple[Package, ...]:
    """Return the packages of a prefix and their sources; raise PackError for an unreadable one.

    `records` are conda's, and `files` the paths of all regular files. Sources are those named
    `*.py` in `lib/python3.*`, but for tests: they may be a third of all, and nobody who starts a
    program waits for them.
    """
    try:
        sources = (path for path in files if path.endswith(".py") and path.startswith(_LIBRARY))
        present = frozenset(filter(_is_source, sources))
        changed = {change.path for change in prefix.changes}
        condas = list(_conda_packages(records, changed))
        brought = {path for package in condas for path in package.records}
        claims = [*condas, *_wheels(prefix.path, present, brought)]
    except (OSError, ValueError) as error:
        raise PackError(f"the environment's Python sources cannot be listed: {error}") from error
    open_to_doubt = {change.path for change in prefix.changes if change.by == "postBuild"}
    open_to_doubt |= _claimed_twice(claims)
    undoubted = present - open_to_doubt
    packages = []
    for claim in claims:
        own = {path: digest for path, digest in claim.sources.items() if path in undoubted}
        if own:
            packages.append(Package(key=claim.key, sources=own))
    rest = present.difference(*(package.sources for package in packages))
    unclaimed = _unclaimed(prefix.path, sorted(rest))
    return (*packages, unclaimed) if unclaimed.sources else tuple(packages)


def _is_source(path: str) -> bool:
    return "/" in path[len(_LIBRARY) :] and _PASSED_OVER.isdisjoint(path.split("/"))


def _claimed_twice(claims: list[Package]) -> set[str]:
    seen: set[str] = set()
    twice: set[str] = set()
    for claim in claims:
        twice |= seen & claim.sources.keys()
        seen |= claim.sources.keys()
    return twice


def _conda_packages(
    records: Iterable[Mapping[str, Any]], changed: Collection[str]
) -> Iterator[Package]:
    """Yield what conda's records speak for; a package without a digest is left to `_unclaimed`."""
    for record in records:
        digest = record.get("sha256") or record.get("md5")
        if not digest:
            continue
        entries = (record.get("paths_data") or {}).get("paths") or ()
        known = {entry["_path"]: entry.get("sha256") for entry in entries}
        gone = {entry["_path"] for entry in entries if entry.get("prefix_placeholder")} | {*changed}
        own = [
            path
            for path in record.get("files") or ()
            if path.startswith(_LIBRARY) and path not in gone
        ]
        sources = {path: known.get(path) for path in own if path.endswith(".py")}
        recorded = tuple(path for path in own if path.endswith(".dist-info/RECORD"))
        yield Package(key=digest, sources=sources, records=recorded)


def _wheels(root: Path, present: Collection[str], condas: Collection[str]) -> Iterator[Package]:
    """Yield what the RECORDs of distributions speak for that did not come with conda."""
    for path in sorted(_records(root)):
        if path in condas:
            continue
        site = posixpath.dirname(posixpath.dirname(path))
        text = (root / path).read_text(encoding="utf-8", errors="surrogateescape")
        rows = (row for row in csv.reader(text.splitlines()) if len(row) > 1)
        digests = ((posixpath.normpath(f"{site}/{row[0]}"), _sha256(row[1])) for row in rows)
        sources = {path: digest for path, digest in digests if digest and path in present}
        yield Package(key=_digest(sources), sources=sources)


def _records(root: Path) -> Iterator[str]:
    for site in site_packages(root):
        for name in os.listdir(site):  # noqa: PTH208 - several times as quick as a glob
            path = f"{site.relative_to(root)}/{name}/RECORD"
            if name.endswith(".dist-info") and (root / path).is_file():
                yield path


def _sha256(text: str) -> str | None:
    """Return what a RECORD says of a file, in hexadecimal digits; None for no sha256."""
    algorithm, _, value = text.partition("=")
    try:
        return base64.urlsafe_b64decode(f"{value}=").hex() if algorithm == "sha256" else None
    except ValueError:
        return None


def _unclaimed(root: Path, paths: list[str]) -> Package:
    """Return what no package speaks for: what was changed, or written by postBuild.

    Where a source holds the prefix, it will be another one wherever it is unpacked.
    """
    name = os.fsencode(root.absolute())
    contents = ((path, (root / path).read_bytes()) for path in paths)
    sources = {path: sha256_bytes(content) for path, content in contents if name not in content}
    return Package(key=_digest(sources), sources=sources)


def _digest(sources: Mapping[str, str]) -> str:
    return sha256_bytes(json.dumps(sorted(sources.items())).encode())
