"""The packages of an environment as they are installed, with what the lock says of them.

conda's own records (`conda-meta/*.json`) and Python's (`*.dist-info`, PEP 376 and 610) are read, so
that what postBuild installed is listed too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reespack.manifest.addresses import public_url
from reespack.site_packages import site_packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.metadata import Distribution
    from pathlib import Path

    from reespack.products import LockedPip, Prefix

__all__ = ["conda_packages", "pip_packages"]

_PACKAGE_PARTS = 3
"""Of a local channel's package, `channel/subdir/file` is shown."""


def conda_packages(prefix: Prefix, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what conda-meta's records list, by name."""
    locked = {(one.name, one.version, one.build) for one in prefix.lock.conda}
    packages = []
    for record in records:
        known = (record["name"], record["version"], record["build"]) in locked
        url = record.get("url")
        packages.append(
            {
                "name": record["name"],
                "version": record["version"],
                "build": record["build"],
                "subdir": record.get("subdir"),
                "channel": _channel(record),
                "url": public_url(url, keep=_PACKAGE_PARTS) if url else None,
                "sha256": record.get("sha256"),
                "md5": record.get("md5"),
                "size": record.get("size"),
                "license": record.get("license") or None,
                "by": "lock" if known else "postBuild",
            }
        )
    return sorted(packages, key=lambda package: str(package["name"]))


def pip_packages(prefix: Prefix, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the Python distributions that are there and no conda package brought, by name.

    `records` are conda's.
    """
    from packaging.utils import canonicalize_name

    conda = {path for record in records for path in record.get("files") or ()}
    sources = {canonicalize_name(one.name): one for one in prefix.lock.pip}
    wheels = {canonicalize_name(one.name): one for one in prefix.wheels}
    packages = []
    for folder, distribution in _distributions(prefix.path):
        plain = folder.name.split("-")[0]
        metadata = folder.relative_to(prefix.path).as_posix()
        condas = metadata in conda or f"{metadata}/METADATA" in conda
        if condas and canonicalize_name(plain) not in wheels:
            continue  # without a look into its metadata: there are a hundred like it
        name = canonicalize_name(distribution.metadata["Name"] or plain)
        wheel = wheels.get(name)
        pinned = wheel is not None and _same(wheel.version, distribution.version)
        if condas and not pinned:
            continue
        found = _pinned(sources.get(name), wheel) if pinned and wheel else _unpinned(distribution)
        packages.append(
            {
                "name": str(name),
                "version": distribution.version,
                "license": _license(distribution),
                "by": "lock" if pinned else "postBuild",
                **found,
            }
        )
    return sorted(packages, key=lambda package: str(package["name"]))


# --- conda -------------------------------------------------------------------------------------


def _channel(record: dict[str, Any]) -> str | None:
    """Return the channel of a package; a URL says more than a record's own short name for it."""
    url, subdir = record.get("url"), record.get("subdir")
    if url and subdir and f"/{subdir}/" in url:
        return public_url(url.rpartition(f"/{subdir}/")[0])
    channel = record.get("channel")
    return public_url(channel.rstrip("/")) if channel else None


# --- pip ---------------------------------------------------------------------------------------


def _distributions(prefix: Path) -> Iterator[tuple[Path, Distribution]]:
    from importlib.metadata import PathDistribution  # who only reads a manifest needs none of it

    for kind in ("dist-info", "egg-info"):
        for site in site_packages(prefix):
            for folder in sorted(site.glob(f"*.{kind}")):
                if (folder / "METADATA").is_file() or (folder / "PKG-INFO").is_file():
                    yield folder, PathDistribution(folder)


def _same(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _pinned(source: LockedPip | None, wheel: LockedPip) -> dict[str, Any]:
    """Say what the lock says; the wheel is another file than the source when it was built here."""
    source = source or wheel
    return {
        "kind": source.kind,
        "url": source.url if source.kind == "project" else public_url(source.url),
        "sha256": source.sha256,
        "wheel_sha256": wheel.sha256,
        "overrides": source.overrides or wheel.overrides,
    }


def _unpinned(distribution: Distribution) -> dict[str, Any]:
    text = distribution.read_text("direct_url.json")
    url = json.loads(text).get("url") if text else None
    return {
        "kind": None,
        "url": public_url(url) if url else None,
        "sha256": None,
        "wheel_sha256": None,
        "overrides": False,
    }


def _license(distribution: Distribution) -> str | None:
    """Return a short name: the SPDX expression (PEP 639), the old field, or the classifiers."""
    metadata = distribution.metadata
    for field in ("License-Expression", "License"):
        lines = str(metadata[field]).strip().splitlines() if field in metadata else []
        if len(lines) == 1 and lines[0] != "UNKNOWN":
            return lines[0]
    classifiers = [str(one).split(" :: ") for one in metadata.get_all("Classifier") or ()]
    names = [one[-1] for one in classifiers if one[0] == "License" and one[-1] != "OSI Approved"]
    return ", ".join(names) or None
