"""Which Python distributions a conda package brings, found from the package itself.

conda's names say nothing reliable about Python's (`matplotlib-base` is matplotlib, `pytorch` is
torch, one package may bring several). The `*.dist-info` folders listed in info/paths.json do.
"""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rattler import RepoDataRecord
    from rattler.networking import Client
    from rattler.package_streaming import PackageArchive

__all__ = ["Provided", "find_provided", "open_archive", "write_stub"]

AT_ONCE = 16
"""Packages that are looked into at the same time."""

_METADATA = re.compile(
    r"(?:^|/)site-packages/"
    r"(?P<name>[^/]+?)-(?P<version>[^/-]+)(?:-py[0-9.]+)?"
    r"(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """A Python distribution inside a conda package; `name` is normalised (PEP 503)."""

    name: str
    version: str
    package: str
    url: str
    metadata: str


async def find_provided(
    records: Iterable[RepoDataRecord], *, client: Client, cache: Path
) -> dict[str, Provided]:
    """Return the distributions of the conda packages, by normalised name.

    Packages that do not depend on Python are not looked into. What a package holds is kept below
    `cache` under its sha256. Raises OSError or rattler's errors when a package cannot be read.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def look(record: RepoDataRecord) -> list[Provided]:
        async with limit:
            return await _distributions(record, client, cache)

    found = await asyncio.gather(*(look(record) for record in records if _has_python(record)))
    return {one.name: one for several in found for one in several}


def _has_python(record: RepoDataRecord) -> bool:
    needs = {re.split(r"[\s<>=!~\[]", depend, maxsplit=1)[0] for depend in record.depends}
    return record.noarch.python or not needs.isdisjoint({"python", "python_abi", "pypy"})


async def _distributions(record: RepoDataRecord, client: Client, cache: Path) -> list[Provided]:
    digest = record.sha256
    kept = None if digest is None else cache / "distributions" / f"{digest.hex()}.json"
    paths = _read_kept(kept)
    if paths is None:
        archive = await open_archive(record.url, client)
        listed = (await archive.paths_json()).paths
        paths = [path for path in (str(p.relative_path) for p in listed) if _METADATA.search(path)]
        _keep(kept, paths)
    return [_provided(path, record) for path in paths]


async def open_archive(url: str, client: Client) -> PackageArchive:
    """Open a conda package where it is: on this machine, or by the parts of it that are read."""
    from rattler.package_streaming import PackageArchive

    if url.startswith("file:"):
        return await PackageArchive.from_path(unquote(urlsplit(url).path))
    return await PackageArchive.from_url(client, url)


def _provided(path: str, record: RepoDataRecord) -> Provided:
    match = _METADATA.search(path)
    if match is None:
        raise ValueError(path)
    return Provided(
        name=canonicalize_name(match["name"]),
        version=match["version"].replace("_", "-"),
        package=record.name.normalized,
        url=record.url,
        metadata=path,
    )


def _read_kept(kept: Path | None) -> list[str] | None:
    if kept is None:
        return None
    try:
        paths = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return None
    return [str(path) for path in paths]


def _keep(kept: Path | None, paths: list[str]) -> None:
    from reespack.files import write_atomic

    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, json.dumps(paths).encode())


# --- stubs -------------------------------------------------------------------------------------


def write_stub(one: Provided, folder: Path, *, requires: Mapping[str, str] | None = None) -> Path:
    """Write a wheel that says of itself no more than that this version is there; return its path.

    uv is told that the distribution has to come from this file: so it checks every requirement
    against the version, asks no index for it, and follows none of its dependencies, for which
    the conda half has seen already. `requires` are lines to add to its metadata.
    """
    stem = f"{one.name.replace('-', '_')}-{one.version.replace('-', '_')}"
    path = folder / f"{stem}-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {one.name}", f"Version: {one.version}"]
    lines += [f"{key}: {value}" for key, value in (requires or {}).items()]
    with zipfile.ZipFile(path, "w") as wheel:
        # The default time of a ZipInfo is 1980: the same stub is the same bytes.
        for name, text in (
            ("METADATA", "\n".join(lines) + "\n"),
            ("WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            ("RECORD", ""),
        ):
            wheel.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{name}"), text)
    return path
