"""Locks that the repository brings: a committed conda-lock.yml or an explicit file.

A user's lock is used as it is. What is checked: that it holds the platform and a kernel and, for
conda-lock.yml, that it belongs to the environment.yml beside it.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from reespack.errors import LockError, StaleLockError
from reespack.locking.reading import parse_yaml, read_lock
from reespack.model import EnvironmentSpec, Note, Origin
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reespack.channels import ChannelSettings
    from reespack.model import Repository
    from reespack.products import Lock, PlatformLock
    from reespack.progress import Progress

__all__ = ["given_lock"]

KERNELS = {"python": "ipykernel", "r": "r-irkernel"}
"""The package without which a language has no kernel; IJulia is not a conda package."""

_SOURCES = ("environment.yml", "environment.yaml")


def given_lock(
    specs: EnvironmentSpec | Sequence[EnvironmentSpec],
    *,
    repository: Repository,
    channels: ChannelSettings,
    progress: Progress = QUIET,
) -> Lock:
    """Read the lock that the repository brings, for the platforms of `specs`.

    Raises StaleLockError when it does not belong to its environment.yml, LockError when it cannot
    be read, lacks the platform or has no kernel.
    """
    several = (specs,) if isinstance(specs, EnvironmentSpec) else tuple(specs)
    inputs = [spec.lockfile for spec in several if spec.lockfile is not None]
    if not inputs:
        raise LockError("the repository brings no lockfile")
    path = inputs[0].path
    text = repository.read_text(path)
    platforms = [spec.platform for spec in several]
    progress.step(f"Using {path} as it is")
    if inputs[0].kind == "explicit":
        from reespack.locking.explicit import read_explicit

        lock = read_explicit(text, name=path, platform=platforms[0], channels=channels)
    else:
        lock = read_lock(text, name=path)
        _check_platforms(lock, platforms, path)
        lock = replace(lock, notes=tuple(_stale(text, path, platforms, repository)))
    lock = replace(lock, given=True)
    for spec in several:
        chosen = lock.for_platform(spec.platform)
        if chosen is not None:
            _check_kernel(chosen, spec, path)
    return lock


def _check_platforms(lock: Lock, platforms: Sequence[str], path: str) -> None:
    there = [one.platform for one in lock.platforms]
    missing = [platform for platform in platforms if platform not in there]
    if missing:
        raise LockError(
            f"{path}: has nothing for {', '.join(missing)} (only for {', '.join(there)})",
            hint=f"add it with `reespack lock -p {missing[0]}` or `conda-lock -p {missing[0]}`, "
            "or build with --update-lock",
        )


def _check_kernel(chosen: PlatformLock, spec: EnvironmentSpec, path: str) -> None:
    names = {p.name for p in chosen.conda} | {p.name for p in chosen.pip}
    for language in spec.languages:
        kernel = KERNELS.get(language)
        if kernel is not None and kernel not in names:
            raise LockError(
                f"{path}: has no {kernel}, so that no {language} notebook could run in it",
                hint=f"add {kernel} to what the lock is made from and lock again, "
                "or build with --update-lock",
            )


# --- does it belong to its sources? ------------------------------------------------------------


def _stale(
    text: str, path: str, platforms: Sequence[str], repository: Repository
) -> Iterator[Note]:
    """Raise StaleLockError when the sources have changed since; yield a note when none can say."""
    metadata = parse_yaml(text, name=path)["metadata"]
    folder = PurePosixPath(path).parent
    sources = _sources(metadata, folder, repository)
    inputs = {
        found: sums
        for named, sums in (metadata.get("inputs_metadata") or {}).items()
        for found in [_locate(str(named), folder, repository)]
        if found is not None and not found.endswith(_SOURCES)
    }
    changed = [name for name, sums in inputs.items() if _differs(name, sums, repository)]
    if changed:
        raise _stale_error(path, changed)
    if all(source in inputs for source in sources):
        return
    recorded = metadata.get("content_hash") or {}
    for platform in platforms:
        allowed = _allowed_hashes(sources, platform, metadata, repository)
        if allowed is None:
            yield Note(
                message=f"{path}: cannot be held against {', '.join(sources)}, which conda-lock "
                "does not read",
                origin=Origin(file=path),
            )
            return
        if recorded.get(platform) not in allowed:
            raise _stale_error(path, sources)


def _stale_error(path: str, sources: Sequence[str]) -> StaleLockError:
    return StaleLockError(
        f"{path}: does not belong to {', '.join(sources)} any more",
        hint="build with --update-lock to solve again, or run `reespack lock` and commit the new "
        "lockfile",
    )


def _differs(name: str, sums: dict[str, str], repository: Repository) -> bool:
    from reespack.locking.document import input_sums

    now = input_sums(repository.read_bytes(name))
    return any(sums.get(kind) not in {None, now[kind]} for kind in now)


def _sources(metadata: dict[str, Any], folder: PurePosixPath, repository: Repository) -> list[str]:
    """Return the files that the lock was made from, as far as the repository has them all."""
    named = [str(source) for source in metadata.get("sources") or ()]
    located = [_locate(source, folder, repository) for source in named]
    found = [path for path in located if path is not None]
    if named and len(found) == len(named):
        return found
    beside = [str(folder / name) for name in _SOURCES]
    return [path for path in beside if repository.is_file(path)][:1]


def _locate(source: str, folder: PurePosixPath, repository: Repository) -> str | None:
    """Find a source: conda-lock names it relative to the lockfile, reespack to the repository."""
    for base in (folder, PurePosixPath()):
        path = _normal(base / source)
        if path is not None and repository.is_file(path):
            return path
    return None


def _normal(path: PurePosixPath) -> str | None:
    """Resolve `..` in a path of the repository; None when it leads out."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) if parts and not path.is_absolute() else None


def _allowed_hashes(
    sources: Sequence[str], platform: str, metadata: dict[str, Any], repository: Repository
) -> set[str] | None:
    """Return every content hash that conda-lock may have written for these sources.

    It depends on options that a lockfile does not record: channels given on its command line,
    with or without CUDA, virtual-packages.yml beside the sources; and on its version. None when
    conda-lock cannot read the sources.
    """
    from reespack.locking.asked import parse_sources, quiet_conda_lock

    files = [repository.resolve(source) for source in sources]
    recorded = [str(channel["url"]) for channel in metadata.get("channels") or ()]
    with quiet_conda_lock():
        from conda_lock.content_hash import backwards_compatible_content_hashes

        try:
            spec = parse_sources(files, platforms=[platform], channels=recorded)
        except Exception:  # noqa: BLE001 - conda-lock raises whatever its parsers do
            return None
        allowed: set[str] = set()
        for packages in _virtual_package_repos(files[0].parent):
            allowed |= backwards_compatible_content_hashes(spec, packages, platform)
    return allowed


def _virtual_package_repos(folder: Any) -> Iterator[Any]:  # noqa: ANN401 - conda-lock's own
    from conda_lock.virtual_package import (
        default_virtual_package_repodata,
        virtual_package_repo_from_specification,
    )

    yield default_virtual_package_repodata()
    yield default_virtual_package_repodata(cuda_version="")
    own = folder / "virtual-packages.yml"
    if own.is_file():
        with contextlib.suppress(Exception):  # conda-lock raises whatever its parsers do
            yield virtual_package_repo_from_specification(own)
