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
from typing import TYPE_CHECKING

from reespack.errors import PackError
from reespack.files import sha256_bytes
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from reespack.products import Prefix

__all__ = ["Package", "python_sources"]


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


def python_sources(prefix: Prefix) -> tuple[Package, ...]:
    """Return the packages of a prefix and their sources; raise PackError for an unreadable one.

    Sources are regular files named `*.py` in `lib/python3.*`, but for tests: they may be a third of
    all, and nobody who starts a program waits for them.
    """
    try:
        present = frozenset(_walk(prefix.path))
        changed = {change.path for change in prefix.changes}
        condas = list(_conda_packages(prefix.path, changed))
        records = {path for package in condas for path in package.records}
        claims = [*condas, *_wheels(prefix.path, present, records)]
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


def _walk(root: Path) -> Iterator[str]:
    """Yield the paths of all Python sources but tests, in no order; in caches there are none."""
    pending = [f"lib/{folder.name}" for folder in root.glob("lib/python3.*") if folder.is_dir()]
    while pending:
        folder = pending.pop()
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(".py"):
                    if entry.is_file(follow_symlinks=False):
                        yield f"{folder}/{name}"
                elif name not in _PASSED_OVER and entry.is_dir(follow_symlinks=False):
                    pending.append(f"{folder}/{name}")


def _claimed_twice(claims: list[Package]) -> set[str]:
    seen: set[str] = set()
    twice: set[str] = set()
    for claim in claims:
        twice |= seen & claim.sources.keys()
        seen |= claim.sources.keys()
    return twice


def _conda_packages(root: Path, changed: Collection[str]) -> Iterator[Package]:
    """Yield what conda's records speak for; a package without a digest is left to `_unclaimed`."""
    for file in sorted((root / "conda-meta").glob("*.json")):
        record = json.loads(file.read_bytes())
        digest = record.get("sha256") or record.get("md5")
        if not digest:
            continue
        entries = (record.get("paths_data") or {}).get("paths") or ()
        known = {entry["_path"]: entry.get("sha256") for entry in entries}
        gone = {entry["_path"] for entry in entries if entry.get("prefix_placeholder")} | {*changed}
        own = [
            path
            for path in record.get("files") or ()
            if path.startswith("lib/python3.") and path not in gone
        ]
        sources = {path: known.get(path) for path in own if path.endswith(".py")}
        records = tuple(path for path in own if path.endswith(".dist-info/RECORD"))
        yield Package(key=digest, sources=sources, records=records)


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
    for site in root.glob("lib/python3.*/site-packages"):
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
