"""The pip half of an environment: locked wheels, their hashes checked, put in place by uv."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from reespack.errors import HashMismatchError, InstallError
from reespack.files import sha256_file, write_atomic
from reespack.prefix.activation import neutral
from reespack.prefix.changes import compare, take_snapshot
from reespack.prefix.conda_meta import conda_files
from reespack.prefix.distributions import (
    distributions,
    drop_files,
    normalized,
    replace_direct_url,
)
from reespack.prefix.links import CopiesNeeded, move_into
from reespack.prefix.sources import GitSource, local_path
from reespack.products import FileChange
from reespack.uv import run_uv
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reespack.model import EnvironmentSpec, Repository
    from reespack.package_index import PackageIndex
    from reespack.prefix.conda_meta import CondaFile
    from reespack.prefix.distributions import Distribution
    from reespack.prefix.wheels import WheelBuilder
    from reespack.process import Completed
    from reespack.products import LockedPip, PlatformLock
    from reespack.progress import Progress

__all__ = ["Wheel", "install_pip", "install_wheels", "local_wheel", "tidy_metadata"]

_MISMATCH = re.compile(
    r"Hash mismatch for `([^`@ ]+)[^`]*`.*?Expected:\s*(\w+:\w+).*?Computed:\s*(\w+:\w+)", re.DOTALL
)
_FROM_UV = ("uv_cache.json", "uv_build.json")
"""What uv keeps in a distribution's metadata: times and paths of this machine."""


class Wheel(Value):
    """A locked distribution and the wheel for it: a URL, or a file when it was made here."""

    package: LockedPip
    file: Path | None

    def requirement(self, *, by_url: bool) -> str:
        """Return a line of a requirements file that means this very wheel."""
        name, digest = self.package.name, self.package.sha256
        if self.file is not None:
            text = f"{name} @ {self.file.as_uri()}"
        else:
            text = f"{name} @ {self.package.url}" if by_url else f"{name}=={self.package.version}"
        return f"{text} --hash=sha256:{digest}" if digest else text


def install_pip(  # noqa: PLR0913 - the collaborators of a phase
    spec: EnvironmentSpec,
    lock: PlatformLock,
    *,
    path: Path,
    repository: Repository,
    builder: WheelBuilder,
    index: PackageIndex,
    linked: bool,
    scratch: Path,
    progress: Progress,
) -> tuple[tuple[LockedPip, ...], tuple[FileChange, ...]]:
    """Install the locked Python distributions over the conda half.

    Returns them with the sha256 of the wheel that was installed, and what became of conda's files:
    a distribution that conda had brought is removed as pip would remove it, its record stays. When
    that must not be, since conda's files are `linked`, CopiesNeeded is raised.
    Raises InstallError, and HashMismatchError naming package, expected and got.
    """
    if not lock.pip:
        return (), ()
    if not (path / "bin" / "python").exists():
        raise InstallError(
            "there are pip requirements, and no Python in the environment to install them for",
            hint="add python to environment.yml's dependencies",
        )
    wheels = [_wheel(package, builder, repository) for package in lock.pip]
    owned = conda_files(path)
    names = {normalized(package.name) for package in lock.pip}
    if linked and any(one.name in names for one in distributions(path)):
        raise CopiesNeeded
    before = {} if linked else take_snapshot(path)
    _remove_unrecorded(names, path, owned)
    apart = scratch / "wheels" if linked else None
    with progress.task("installing wheels", total=len(wheels)) as advance:
        install_wheels(
            wheels, path=path, apart=apart, index=index, scratch=scratch, progress=progress
        )
        advance(len(wheels))
    differing = list(move_into(path, apart, owned)) if apart else []
    installed = {normalized(wheel.package.name): wheel.package for wheel in wheels}
    asked = {normalized(one.name) for one in spec.pip if one.name}
    found = [one for one in distributions(path) if one.name in installed]
    for distribution in found:
        tidy_metadata(distribution, installed[distribution.name])
        if distribution.name not in asked and installed[distribution.name].kind != "project":
            drop_files(distribution, "REQUESTED")
    missing = sorted(set(installed) - {one.name for one in found})
    if missing:
        raise InstallError(f"uv did not install {', '.join(missing)}", hint="this is a bug")
    if not linked:
        digests = {name: file.sha256 for name, file in owned.items()}
        every = compare(before, take_snapshot(path), path, known=digests.get)
        differing = [pair for pair in every if pair[0] in owned]
    return (
        tuple(wheel.package for wheel in wheels),
        _attributed(differing, found, path, owned),
    )


def install_wheels(  # noqa: PLR0913 - what uv is told, and how
    wheels: Sequence[Wheel],
    *,
    path: Path,
    index: PackageIndex,
    scratch: Path,
    progress: Progress,
    apart: Path | None = None,
) -> None:
    """Have uv install exactly these wheels into `path`, from copies, with hashes checked.

    What is to lie in `path` is put into the folder `apart`, when that is given. A URL that cannot
    be reached (a lock made where there is no mirror) is looked for in the index by its name,
    version and hash.
    """
    ask = functools.partial(
        _uv_install,
        wheels,
        path=path,
        apart=apart,
        index=index,
        scratch=scratch,
        on_output=progress.detail,
    )
    done = ask(by_url=True)
    if done.ok:
        return
    _raise_mismatch(done)
    if not index.offline and any(wheel.file is None and wheel.package.sha256 for wheel in wheels):
        progress.detail("not all URLs of the lock can be reached; asking the index by hash")
        second = ask(by_url=False)
        if second.ok:
            return
        _raise_mismatch(second)
    tail = "\n".join(done.tail)
    reason = next((line for line in done.tail if line.startswith("error: ")), f"uv {done.ending}")
    raise InstallError(
        f"the pip requirements cannot be installed: {reason.removeprefix('error: ')}",
        hint=_install_hint(tail, offline=index.offline),
        detail=tail,
    )


def local_wheel(package: LockedPip, file: Path) -> Wheel:
    """Return a wheel that lies here, with the version and digest that it really has."""
    try:
        version = str(parse_wheel_filename(file.name)[1])
    except InvalidWheelFilename as error:
        raise InstallError(
            f"{package.name}: {error}", hint="give the wheel its name back"
        ) from error
    return Wheel(
        package=dataclasses.replace(package, version=version, sha256=sha256_file(file)), file=file
    )


def tidy_metadata(distribution: Distribution, package: LockedPip | None) -> None:
    """Remove this machine's paths and times from an installed distribution's metadata.

    A git source keeps its direct_url.json, as pip would write it (PEP 610).
    """
    drop_files(distribution, *_FROM_UV)
    if package is not None and package.kind == "git":
        source = GitSource(package.url)
        replace_direct_url(
            distribution,
            {
                "url": source.url,
                "vcs_info": {"vcs": "git", "commit_id": source.commit},
                **({"subdirectory": source.subdirectory} if source.subdirectory else {}),
            },
        )
    elif package is not None or str(distribution.direct_url.get("url", "")).startswith("file:"):
        drop_files(distribution, "direct_url.json")


def _wheel(package: LockedPip, builder: WheelBuilder, repository: Repository) -> Wheel:
    if package.kind == "wheel" and local_path(package.url, repository.root) is None:
        return Wheel(package=package, file=None)
    return local_wheel(package, builder.wheel(package))


def _uv_install(  # noqa: PLR0913 - see install_wheels
    wheels: Sequence[Wheel],
    *,
    path: Path,
    apart: Path | None,
    index: PackageIndex,
    scratch: Path,
    on_output: Callable[[str], None],
    by_url: bool,
) -> Completed:
    requirements = scratch / "requirements.txt"
    lines = [wheel.requirement(by_url=by_url) for wheel in wheels]
    write_atomic(requirements, "\n".join(lines) + "\n")
    # A lock that the repository brings may lack hashes; those that are there count.
    checked = all(wheel.package.sha256 for wheel in wheels)
    return run_uv(
        ["pip", "install", "--python", path / "bin" / "python", "--no-python-downloads",
         "--no-deps", "--require-hashes" if checked else "--verify-hashes", "--no-build",
         # Copies: a link would let whatever runs in the environment write into uv's cache.
         "--link-mode", "copy", "--no-compile-bytecode",
         # The environment is ours alone, whatever an EXTERNALLY-MANAGED file in it says.
         "--break-system-packages", "--requirements", requirements,
         *(("--prefix", apart) if apart else ())],
        index=index,
        cwd=scratch,
        env=neutral(os.environ),
        on_output=on_output,
    )  # fmt: skip


def _raise_mismatch(done: Completed) -> None:
    text = "\n".join(done.tail)
    if found := _MISMATCH.search(text):
        raise HashMismatchError(
            f"{found[1]} is not the file that was locked: expected {found[2]}, got {found[3]}",
            hint="lock again if you trust the new file",
            detail=text,
        )


def _install_hint(output: str, *, offline: bool) -> str:
    if offline:
        return "reespack is offline: build once with the network to fill the cache"
    if "No space left" in output:
        return "the disk is full: free some space, or set REESPACK_CACHE and TMPDIR elsewhere"
    if "not compatible" in output or "no wheels with a matching" in output:
        return "the lock is for another Python or platform: lock again"
    return "check the network and the index settings; run with -v to see all of uv's output"


# --- what becomes of conda's files ---------------------------------------------------------------


def _remove_unrecorded(names: set[str], path: Path, owned: dict[str, CondaFile]) -> None:
    """Remove conda's distributions that uv cannot, for want of a RECORD (old egg-info ones)."""
    for distribution in list(distributions(path)):
        if distribution.name not in names or (distribution.metadata / "RECORD").is_file():
            continue
        below = distribution.metadata.relative_to(path).as_posix()
        owner = next(
            (file.package for name, file in owned.items() if f"{name}/".startswith(f"{below}/")),
            None,
        )
        for name, file in owned.items():
            if owner is not None and file.package == owner and "/site-packages/" in name:
                (path / name).unlink(missing_ok=True)


def _attributed(
    differing: Sequence[tuple[str, str]],
    found: Sequence[Distribution],
    path: Path,
    owned: dict[str, CondaFile],
) -> tuple[FileChange, ...]:
    """Say for each of conda's files that differs which distribution did it."""
    writers = {name: one.name for one in found for name in one.files(path)}
    names = {one.name for one in found}
    replaced = {
        owned[file].package: name
        for file, _ in differing
        if (name := _metadata_name(file)) in names and name is not None
    }
    return tuple(
        FileChange(
            path=file,
            change="deleted" if change == "deleted" else "changed",
            by="pip",
            package=writers.get(file) or replaced.get(owned[file].package),
        )
        for file, change in differing
    )


def _metadata_name(path: str) -> str | None:
    """Return the distribution whose metadata a file is part of."""
    found = re.search(r"/([^/]+?)-[^/]*\.(?:dist|egg)-info(?:/|$)", path)
    return normalized(found[1]) if found else None
