"""From uv's pylock.toml (PEP 751) to what is locked: one file for each distribution.

https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from reespack import toml
from reespack.channels import without_credentials
from reespack.errors import LockError, UnsatisfiableError
from reespack.locking.hashes import File, allowed, file_name, require_hashes, sha256_of
from reespack.locking.pip_half import name_of
from reespack.locking.projects import static_version
from reespack.products import LockedPip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reespack.locking.pip_half import PipRequest, PipResult
    from reespack.locking.provided import Provided

__all__ = ["distributions", "versions"]


def versions(result: PipResult) -> dict[str, str]:
    """Return the version of each distribution that has one, by normalised name."""
    packages = toml.loads(result.pylock).get("packages", [])
    return {canonicalize_name(p["name"]): p["version"] for p in packages if "version" in p}


def distributions(
    result: PipResult,
    request: PipRequest,
    *,
    provided: Mapping[str, Provided],
    overrides: frozenset[str],
) -> tuple[LockedPip, ...]:
    """Return what pip's half has to install: all of uv's answer that conda does not provide.

    Raises UnsatisfiableError when a distribution has no usable file, LockError when none of its
    files has a hash that the requirements allow.
    """
    needs: dict[str, list[str]] = {}
    for name, needers in result.needed_by.items():
        for needer in needers:
            needs.setdefault(needer, []).append(name)
    ranks = {tag: rank for rank, tag in enumerate(_tags(request))}
    locked = []
    for package in toml.loads(result.pylock).get("packages", []):
        name = canonicalize_name(package["name"])
        if name in provided:
            continue
        fields = _pinned(package, request, result, ranks)
        depends = tuple((need, "") for need in sorted(needs.get(name, ())))
        locked.append(LockedPip(name=name, depends=depends, overrides=name in overrides, **fields))
    require_hashes(locked, request)
    return tuple(locked)


def _pinned(
    package: dict[str, Any], request: PipRequest, result: PipResult, ranks: Mapping[Tag, int]
) -> dict[str, Any]:
    version = package.get("version", "0")
    if vcs := package.get("vcs"):
        subdirectory = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
        url = f"{vcs['type']}+{_public(vcs['url'])}@{vcs['commit-id']}{subdirectory}"
        return {"version": version, "url": url, "kind": "git"}
    if directory := package.get("directory"):
        folder = (result.folder / directory["path"] / directory.get("subdirectory", "")).resolve()
        return {
            "version": package.get("version") or static_version(folder),
            "url": _inside(folder, request),
            "kind": "project",
        }
    if archive := package.get("archive"):
        allowed([archive], package, request)
        if "path" in archive:
            path = (result.folder / archive["path"]).resolve()
            url, kind = _inside(path, request), "project"
        else:
            url = _public(archive["url"])
            kind = "wheel" if urlsplit(url).path.endswith(".whl") else "sdist"
        return {"version": version, "url": url, "kind": kind, "sha256": sha256_of(archive)}
    wheel, sdist = _best(package, request, ranks)
    file = wheel or sdist
    if file is None:
        raise UnsatisfiableError(
            f"{_origin(package, request)}{package['name']} {version} has neither a wheel for "
            f"Python {request.python} on {request.platform} nor a source distribution"
        )
    kind = "wheel" if wheel else "sdist"
    url = str(file.get("url", ""))
    if not url or url.startswith("file:"):
        # From --find-links; a folder of the repository has no business with this machine's paths.
        path = Path(unquote(urlsplit(url).path)) if url else result.folder / file["path"]
        path = path.resolve()
        if path.is_relative_to(request.root.resolve()):
            kind, url = "project", _inside(path, request)
        else:
            url = path.as_uri()
    return {"version": version, "url": _public(url), "kind": kind, "sha256": sha256_of(file)}


def _best(
    package: dict[str, Any], request: PipRequest, ranks: Mapping[Tag, int]
) -> tuple[File | None, File | None]:
    """Return the wheel to take and the sdist, of the files whose hashes are allowed."""
    wheels = package.get("wheels", [])
    sdists = [package["sdist"]] if "sdist" in package else []
    files = allowed([*wheels, *sdists], package, request)
    ranked = sorted(
        (rank, build, position)
        for position, file in enumerate(files)
        if file in wheels
        for rank, build in _ranked(file, ranks)
    )
    wheel = files[ranked[0][2]] if ranked else None
    return wheel, next((file for file in files if file in sdists), None)


def _ranked(file: File, ranks: Mapping[Tag, int]) -> Iterator[tuple[int, tuple[int, str]]]:
    """Yield how well a wheel fits (less is better), and its build number, highest first."""
    try:
        _, _, build, tags = parse_wheel_filename(file_name(file))
    except InvalidWheelFilename:
        return
    fitting = [ranks[tag] for tag in tags if tag in ranks]
    if fitting:
        number, rest = build or (-1, "")
        yield min(fitting), (-number, str(rest))


def _public(url: str) -> str:
    """Return a URL without a password: an index's or a requirement's may have come with one."""
    return without_credentials(url) if re.match(r"https?:", url) else url


def _origin(package: dict[str, Any], request: PipRequest) -> str:
    name = canonicalize_name(package["name"])
    return next((f"{r.origin}: " for r in request.requirements if name_of(r) == name), "")


def _inside(path: Path, request: PipRequest) -> str:
    """Return a path in the repository, relative to its root, as the lock names it."""
    root = request.root.resolve()
    if not path.is_relative_to(root):
        raise LockError(f"{path} is outside of the repository and cannot be locked")
    below = path.relative_to(root).as_posix()
    return "." if below == "." else f"./{below}"


# --- which wheel fits best ---------------------------------------------------------------------


def _tags(request: PipRequest) -> Iterator[Tag]:
    """Yield the tags that the target accepts, best first."""
    version = tuple(int(part) for part in request.python.split(".")[:2])
    interpreter = f"cp{version[0]}{version[1]}"
    platforms = list(_platforms(request))
    yield from cpython_tags(version, platforms=platforms)
    yield from compatible_tags(version, interpreter, platforms)


def _platforms(request: PipRequest) -> Iterator[str]:
    system, _, machine = request.platform.partition("-")
    if system == "win":
        yield {"64": "win_amd64", "arm64": "win_arm64"}.get(machine, "win32")
    elif system == "osx":
        numbers = (request.osx or "11.0").split(".")
        version = (int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0)
        yield from mac_platforms(version, "x86_64" if machine == "64" else machine)
    else:
        machine = "x86_64" if machine == "64" else machine
        yield from _manylinux(request.glibc or "2.28", machine)
        yield f"linux_{machine}"


# https://peps.python.org/pep-0600/#legacy-manylinux-tags
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def _manylinux(glibc: str, machine: str) -> Iterator[str]:
    minor = int(glibc.split(".")[1])
    oldest = 5 if machine == "x86_64" else 17
    for number in range(minor, oldest - 1, -1):
        yield f"manylinux_2_{number}_{machine}"
        if number in _LEGACY:
            yield f"{_LEGACY[number]}_{machine}"
