"""Wheels built from sources with the environment's own Python, each in a place of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reespack.errors import InstallError
from reespack.prefix.activation import activated, neutral
from reespack.prefix.built_wheel import normalize_wheel
from reespack.prefix.sdist import unpack_sdist
from reespack.prefix.sources import check_sha256, clone, download, inside, local_path
from reespack.prefix.steady import UMASK, even_out, steady, with_mapped_paths
from reespack.uv import run_uv
from reespack.working_copy import copy_repository, folder_in_copy

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import Repository
    from reespack.package_index import PackageIndex
    from reespack.products import LockedPip
    from reespack.progress import Progress

__all__ = ["WheelBuilder"]


class WheelBuilder:
    """Makes wheels for one environment.

    Builds are isolated (PEP 517), see the environment activated, and take SOURCE_DATE_EPOCH from
    `when` (seconds since the epoch), so that the same source gives the same wheel. Local projects
    are built from one copy of the checkout below `scratch`.
    """

    def __init__(  # noqa: PLR0913 - the collaborators of a phase
        self,
        *,
        prefix: Path,
        repository: Repository,
        index: PackageIndex,
        cache: Path,
        scratch: Path,
        when: int,
        timeout: float | None,
        threads: int,
        progress: Progress,
    ) -> None:
        self._prefix = prefix
        self._repository = repository
        self._index = index
        self._cache = cache
        self._scratch = scratch
        self._when = when
        self._timeout = timeout
        self._threads = threads
        self._progress = progress
        self._copy: Path | None = None
        self._count = 0

    def wheel(self, package: LockedPip) -> Path:
        """Return a wheel file for a locked sdist, git source or project, or a wheel that is here.

        Raises InstallError, with the end of the build's output, and HashMismatchError.
        """
        source = self._source(package)
        if source.suffix == ".whl":
            return source
        return self.build(source, what=f"{package.name} {package.version}".rstrip())

    def build(self, source: Path, *, what: str) -> Path:
        """Build a wheel from a project's folder or an sdist; `what` names it in errors."""
        self._count += 1
        out = self._scratch / f"wheel-{self._count}"
        if source.is_file():
            source = unpack_sdist(source, self._scratch / f"source-{self._count}")
            even_out(source, when=self._when)
        python = self._prefix / "bin" / "python"
        self._progress.step(f"building a wheel of {what}")
        done = run_uv(
            ["build", "--wheel", "--no-create-gitignore", "--no-python-downloads",
             "--python", python, "--out-dir", out, source],
            index=self._index,
            cwd=self._scratch,
            env=self._variables(),
            timeout=self._timeout,
            on_output=self._progress.detail,
            umask=UMASK,
        )  # fmt: skip
        wheels = sorted(out.glob("*.whl"))
        if not done.ok or not wheels:
            tail = "\n".join(done.tail)
            raise InstallError(
                f"no wheel could be built of {what}: uv {done.ending}",
                hint=_build_hint(tail),
                detail=tail,
            )
        normalize_wheel(wheels[0], when=self._when)
        return wheels[0]

    def surroundings(self) -> dict[str, str]:
        """Return the variables that are the same for every build of this input."""
        return steady(self._when)

    def copy_repository(self, destination: Path) -> Path:
        """Copy the checkout, but nothing of this build; return the repository's root there.

        Files get the commit's time, and modes that say no more than what is executable.
        """
        apart = (self._prefix, self._cache, self._scratch)
        root = copy_repository(self._repository, destination, without=apart)
        even_out(destination, when=self._when)
        return root

    def _source(self, package: LockedPip) -> Path:
        if package.kind == "git":
            checkout = self._scratch / f"git-{package.name}"
            project = clone(package, checkout, progress=self._progress, timeout=self._timeout)
            even_out(checkout, when=self._when)
            return project
        if package.kind == "project":
            return self._project(package)
        here = local_path(package.url, self._repository.root)
        if here is None:
            return download(
                package, self._cache / "sources", index=self._index, progress=self._progress
            )
        check_sha256(here, package)
        return here

    def _project(self, package: LockedPip) -> Path:
        original = inside(self._repository, package.url)
        if not original.exists():
            raise InstallError(
                f"{package.name}: {package.url} is not in the repository", hint="lock again"
            )
        if original.is_file():
            check_sha256(original, package)
            return original
        if self._copy is None:
            self._copy = self._scratch / "projects" / self._repository.name
            self.copy_repository(self._copy)
        below = os.path.relpath(original, self._repository.root)
        return folder_in_copy(self._repository, self._copy) / below

    def _variables(self) -> dict[str, str]:
        found = {
            "MAKEFLAGS": f"-j{self._threads}",
            "CMAKE_BUILD_PARALLEL_LEVEL": str(self._threads),
            **activated(self._prefix, {**neutral(os.environ), **self.surroundings()}),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return with_mapped_paths(found, {self._scratch: "/build", self._prefix: "/prefix"})


def _build_hint(output: str) -> str:
    """Say what to do about the commonest reasons for a failed build."""
    for sign in ("'gcc'", "'cc'", "'g++'", "gcc: not found", "compiler not found"):
        if sign in output:
            return "it needs a compiler: add `compilers` to environment.yml's dependencies"
    if "Failed to fetch" in output or "offline" in output.lower():
        return "its build requirements cannot be had: check the network and the index settings"
    if "does not appear to be a Python project" in output:
        return "the folder has neither pyproject.toml nor setup.py"
    return "run with -v to see the whole output of the build"
