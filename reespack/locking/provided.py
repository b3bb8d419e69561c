"""Which Python distributions a conda package brings, found from the package itself.

conda's names say nothing reliable about Python's (`matplotlib-base` is matplotlib, `pytorch` is
torch, one package may bring several). The `*.dist-info` folders listed in info/paths.json do.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from email.parser import BytesParser
from email.policy import compat32
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from reespack.channels import without_credentials
from reespack.errors import LockError
from reespack.files import sha256_bytes, write_atomic
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rattler import RepoDataRecord
    from rattler.networking import Client
    from rattler.package_streaming import PackageArchive

__all__ = ["Provided", "find_provided", "open_archive", "read_extras", "write_stub"]

AT_ONCE = 16
"""Packages that are looked into at the same time."""

_METADATA = re.compile(
    r"(?:^|/)site-packages/"
    r"(?P<name>[^/]+?)-(?P<version>[^/-]+)(?:-py[0-9.]+)?"
    r"(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info)$"
)


class Provided(Value):
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
    `cache` under its sha256. Raises LockError when a package cannot be read.
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
        try:
            archive = await open_archive(record.url, client)
            listed = (await archive.paths_json()).paths
        except Exception as error:  # rattler's own classes, OSError and ValueError
            raise LockError(
                f"{without_credentials(record.url)} cannot be read, to see which Python "
                "distributions it brings",
                detail=str(error),
            ) from error
        paths = [path for path in (str(p.relative_path) for p in listed) if _METADATA.search(path)]
        _keep(kept, paths)
    found = [_provided(path, record) for path in paths]
    return [one for one in found if _is_version(one.version)]


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


def _is_version(text: str) -> bool:
    """Say whether a version is one that uv can compare; ancient eggs have others."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _read_kept(kept: Path | None) -> list[str] | None:
    if kept is None:
        return None
    try:
        paths = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return None
    return [str(path) for path in paths]


def _keep(kept: Path | None, paths: list[str]) -> None:
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, json.dumps(paths).encode())


# --- stubs -------------------------------------------------------------------------------------


async def read_extras(one: Provided, client: Client) -> tuple[str, ...]:
    """Return what a distribution says of its extras: `Provides-Extra` and their `Requires-Dist`."""
    archive = await open_archive(one.url, client)
    content = await archive.read_file(one.metadata)
    headers = BytesParser(policy=compat32).parsebytes(content or b"", headersonly=True)
    names = [f"Provides-Extra: {value}" for value in headers.get_all("Provides-Extra", [])]
    requires = [
        f"Requires-Dist: {value}"
        for value in headers.get_all("Requires-Dist", [])
        if re.search(r";.*\bextra\b", str(value))
    ]
    return (*names, *requires)


def write_stub(one: Provided, cache: Path, *, extras: Iterable[str] = ()) -> Path:
    """Write a wheel that says of itself no more than that this version is there; return its path.

    The same stub lies at the same place below `cache`, so that uv, too, has to read it once only.

    uv is told that the distribution has to come from this file: so it checks every requirement
    against the version, asks no index for it, and follows none of its dependencies, for which
    the conda half has seen already. `extras` are lines to add to its metadata.
    """
    stem = f"{one.name.replace('-', '_')}-{one.version.replace('-', '_')}"
    lines = ["Metadata-Version: 2.1", f"Name: {one.name}", f"Version: {one.version}", *extras]
    files = {
        "METADATA": "\n".join(lines) + "\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    digest = sha256_bytes(files["METADATA"].encode())[:16]
    path = cache / "stubs" / digest / f"{stem}-py3-none-any.whl"
    if path.is_file():
        return path
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{name}"), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content.getvalue())
    return path
