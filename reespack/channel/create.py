"""Making or extending a wheelhouse channel: the order of the steps."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from reespack.channel.aliases import conda_names, parse_alias
from reespack.channel.conda_file import PackageInfo, write_conda_file
from reespack.channel.interpreter import Interpreter, find_interpreter
from reespack.channel.matchspecs import conda_version
from reespack.channel.python_package import python_abi_package, python_package
from reespack.channel.wheel_package import (
    Metadata,
    existing_package,
    read_metadata,
    wheel_package,
)
from reespack.channel.wheels import Wheel, check_requirements, closure, fetch
from reespack.errors import UsageError
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reespack.progress import Progress

__all__ = ["ChannelReport", "create_channel"]

# What pip in an environment needs, whatever is asked for.
_ALWAYS = ("pip", "setuptools", "wheel")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReport:
    """What a run did: file names below the channel that are new, and how many were there.

    `pythons` are full versions; `packages` all that the run asked for, new or not.
    """

    directory: Path
    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    built: tuple[str, ...]

    @property
    def kept(self) -> int:
        """How many packages an earlier run had made."""
        return len(self.packages) - len(self.built)


def create_channel(
    directory: Path,
    *,
    requirements: Sequence[str] = (),
    requirement_files: Sequence[Path] = (),
    pythons: Sequence[str] = (),
    aliases: Sequence[str] = (),
    progress: Progress = QUIET,
) -> ChannelReport:
    """Make a conda channel in `directory` from this machine's CPythons and the index's wheels.

    `pythons` are versions (`3.12`, `3.12.1`) or paths, none for the one that runs this;
    `requirements` and `requirement_files` are pip's; `aliases` are `NAME=DISTRIBUTION`. What is
    there already is kept. Each package appears whole or not at all. Raises `UsageError` for an
    option, `UnsatisfiableError`, `ChannelError` or `HashMismatchError` for the index.
    """
    check_requirements(requirements, requirement_files)
    wanted_aliases = [parse_alias(text) for text in aliases]
    interpreters = [find_interpreter(request) for request in pythons or (None,)]
    _writable(directory)
    made = _Made(directory)
    for interpreter in interpreters:
        progress.step(f"python {interpreter.version} from {interpreter.prefix}")
        made.add(*python_package(interpreter, directory))
        made.add(*python_abi_package(interpreter, directory))
    every = (*_ALWAYS, *requirements)
    chosen: list[Wheel] = []
    with tempfile.TemporaryDirectory(dir=directory, prefix=".wheels-") as scratch:
        for interpreter in interpreters:
            wheels = closure(interpreter, every, requirement_files)
            _convert(wheels, interpreter, made, Path(scratch), progress)
            chosen += wheels
    for path, new in _alias_packages(chosen, wanted_aliases, directory):
        made.add(path, new)
    progress.step(f"index {directory}")
    _index(directory)
    return ChannelReport(
        directory=directory,
        pythons=tuple(interpreter.version for interpreter in interpreters),
        packages=tuple(sorted(made.packages)),
        built=tuple(sorted(name for name, new in made.packages.items() if new)),
    )


class _Made:
    """The packages of this run, by their name below the channel, and whether they are new."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.packages: dict[str, bool] = {}

    def add(self, path: Path, new: bool) -> None:
        name = str(path.relative_to(self._directory))
        self.packages[name] = new or self.packages.get(name, False)


def _writable(directory: Path) -> None:
    try:
        for subdir in ("noarch",):
            (directory / subdir).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise UsageError(
            f"cannot write into {directory}: {error.strerror}",
            hint="name a folder that you may write into, or one that is not there yet",
        ) from error


def _convert(
    wheels: Sequence[Wheel],
    interpreter: Interpreter,
    made: _Made,
    scratch: Path,
    progress: Progress,
) -> None:
    directory = made._directory
    present = {wheel.name: existing_package(wheel, interpreter, directory) for wheel in wheels}
    for path in filter(None, present.values()):
        made.add(path, new=False)
    missing = [wheel for wheel in wheels if present[wheel.name] is None]
    catalogue = _Catalogue(wheels, scratch)

    def convert(wheel: Wheel) -> Path:
        path = wheel_package(
            wheel,
            catalogue.path(wheel),
            interpreter=interpreter,
            lookup=catalogue.metadata,
            folder=directory,
        )
        progress.detail(f"{wheel.file_name} -> {path.name}")
        return path

    label = f"{len(missing)} wheels for python {interpreter.minor}"
    with (
        progress.task(label, total=len(missing)) as advance,
        # Downloads wait and compression leaves the interpreter's lock: twice the cores.
        ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool,
    ):
        jobs = [pool.submit(convert, wheel) for wheel in missing]
        try:
            for job in jobs:
                made.add(job.result(), new=True)
                advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Catalogue:
    """The wheels of a closure by name, fetched when somebody wants to read them."""

    def __init__(self, wheels: Iterable[Wheel], scratch: Path) -> None:
        self._wheels = {wheel.name: wheel for wheel in wheels}
        self._locks = {name: Lock() for name in self._wheels}
        self._scratch = scratch

    def path(self, wheel: Wheel) -> Path:
        with self._locks[wheel.name]:
            return fetch(wheel, self._scratch)

    def metadata(self, name: str) -> Metadata | None:
        wheel = self._wheels.get(name)
        return None if wheel is None else read_metadata(self.path(wheel))


def _alias_packages(
    wheels: Sequence[Wheel], wanted: Sequence[tuple[str, str]], directory: Path
) -> Iterable[tuple[Path, bool]]:
    names = {wheel.name for wheel in wheels}
    for alias, name in wanted:
        if name not in names:
            raise UsageError(
                f"no such distribution to call {alias}: {name}",
                hint=f"add the requirement {name}, or check its name",
            )
    pairs = {
        (alias, wheel.name, conda_version(wheel.version))
        for wheel in wheels
        for alias in (
            *conda_names(wheel.name),
            *(alias for alias, name in wanted if name == wheel.name),
        )
        if alias != wheel.name and canonicalize_name(alias) not in names - {wheel.name}
    }
    for alias, name, version in sorted(pairs):
        info = PackageInfo(
            name=alias,
            version=version,
            build=f"alias_{name.replace('-', '_')}_0",
            subdir="noarch",
            noarch="generic",
            depends=(f"{name} =={version}",),
            timestamp=1_700_000_000_000,
            summary=f"Another name for {name}",
        )
        target = directory / info.subdir / info.file_name
        new = not target.exists()
        yield (write_conda_file(directory, info, ()) if new else target), new


def _index(directory: Path) -> None:
    from rattler.index import index_fs

    asyncio.run(index_fs(directory, write_zst=True, write_shards=False))
    shutil.rmtree(directory / ".tmp", ignore_errors=True)  # the indexer leaves it behind
