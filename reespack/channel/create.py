"""Making or extending a wheelhouse channel: the order of the steps."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from reespack.channel.aliases import alias_packages, parse_alias
from reespack.channel.download import Download
from reespack.channel.interpreter import find_interpreter
from reespack.channel.metadata import Metadata, read_metadata
from reespack.channel.python_package import python_abi_package, python_package
from reespack.channel.wheel_package import existing_package, wheel_package
from reespack.channel.wheels import Wheel, check_requirements, closure
from reespack.errors import UsageError
from reespack.package_index import PackageIndex
from reespack.progress import QUIET
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reespack.channel.interpreter import Interpreter
    from reespack.progress import Progress

__all__ = ["ChannelReport", "create_channel"]

# What pip in an environment needs, whatever is asked for.
_ALWAYS = ("pip", "setuptools", "wheel")
_OWN_INDEX = PackageIndex()


class ChannelReport(Value):
    """What a run asked for and what it made.

    `pythons` are full versions. `built` and `kept` are the packages' paths below `directory`: those
    that are new, and those that an earlier run had made.
    """

    directory: Path
    pythons: tuple[str, ...]
    built: tuple[str, ...]
    kept: tuple[str, ...]


def create_channel(  # noqa: PLR0913 - one for each option of the command
    directory: Path,
    *,
    requirements: Sequence[str] = (),
    requirement_files: Sequence[Path] = (),
    pythons: Sequence[str] = (),
    aliases: Sequence[str] = (),
    index: PackageIndex = _OWN_INDEX,
    progress: Progress = QUIET,
) -> ChannelReport:
    """Make a conda channel in `directory` from this machine's CPythons and the index's wheels.

    `pythons` are versions (`3.12`, `3.12.1`) or paths, none for the one that runs this;
    `requirements` and `requirement_files` are pip's; `aliases` are `NAME=DISTRIBUTION`; `index` is
    uv's own by default. What is there already is kept. Each package appears whole or not at all.

    Raises `UsageError` for an option or a folder that cannot be written, `UnsatisfiableError`,
    `ChannelError` or `HashMismatchError` for the index.
    """
    check_requirements(requirements, requirement_files)
    wanted_aliases = [parse_alias(text) for text in aliases]
    interpreters = tuple(dict.fromkeys(find_interpreter(one) for one in pythons or (None,)))
    # First what may be refused: a folder is made only for something that can be put into it.
    chosen = [
        (one, closure(one, (*_ALWAYS, *requirements), requirement_files, index=index))
        for one in interpreters
    ]
    try:
        directory.joinpath("noarch").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".wheels-") as scratch:
            work = _Work(directory, Path(scratch), Download(index), progress)
            for interpreter, wheels in chosen:
                work.add_python(interpreter)
                work.add_wheels(interpreter, wheels)
        work.add_aliases([wheel for _, wheels in chosen for wheel in wheels], wanted_aliases)
        progress.step(f"index {directory}")
        _index(directory)
    except OSError as error:
        raise UsageError(
            f"cannot make the channel in {directory}: {error}",
            hint="it needs a folder that you may write into, on a disk with room",
        ) from error
    return work.report(tuple(interpreter.version for interpreter in interpreters))


class _Work:
    """One run: where it writes, and what it has made so far."""

    def __init__(
        self, directory: Path, scratch: Path, download: Download, progress: Progress
    ) -> None:
        self._directory = directory
        self._scratch = scratch
        self._download = download
        self._progress = progress
        self._packages: dict[str, bool] = {}

    def _add(self, path: Path, *, new: bool) -> None:
        name = path.relative_to(self._directory).as_posix()
        self._packages[name] = new or self._packages.get(name, False)

    def report(self, pythons: tuple[str, ...]) -> ChannelReport:
        """Sum up."""
        return ChannelReport(
            directory=self._directory,
            pythons=pythons,
            built=tuple(sorted(name for name, new in self._packages.items() if new)),
            kept=tuple(sorted(name for name, new in self._packages.items() if not new)),
        )

    def add_python(self, interpreter: Interpreter) -> None:
        """Add the packages `python` and `python_abi`."""
        self._progress.step(f"Python {interpreter.version} from {interpreter.prefix}")
        for make in (python_package, python_abi_package):
            path, new = make(interpreter, self._directory)
            self._add(path, new=new)

    def add_wheels(self, interpreter: Interpreter, chosen: Sequence[Wheel]) -> None:
        """Add a package for each wheel that has none yet."""
        wheels = tuple(
            wheel if wheel.sha256 else replace(wheel, sha256=self._download.sha256(wheel.url))
            for wheel in chosen
        )
        missing: list[Wheel] = []
        for wheel in wheels:
            path = existing_package(wheel, interpreter, self._directory)
            if path is None:
                missing.append(wheel)
            else:
                self._add(path, new=False)
        self._convert(missing, _Catalogue(wheels, self._download, self._scratch), interpreter)

    def _convert(
        self, wheels: Sequence[Wheel], catalogue: _Catalogue, interpreter: Interpreter
    ) -> None:
        def convert(wheel: Wheel) -> Path:
            return wheel_package(
                wheel,
                catalogue.path(wheel),
                interpreter=interpreter,
                lookup=catalogue.metadata,
                folder=self._directory,
            )

        label = f"wheels for Python {interpreter.minor}"
        # Downloads wait and compression leaves the interpreter's lock: twice the cores.
        pool = ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1))
        with self._progress.task(label, total=len(wheels)) as advance, pool:
            jobs = [pool.submit(convert, wheel) for wheel in wheels]
            try:
                for job in jobs:
                    self._add(job.result(), new=True)
                    advance(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def add_aliases(self, wheels: Sequence[Wheel], wanted: Sequence[tuple[str, str]]) -> None:
        """Add the metapackages for conda-forge's names and for those asked for."""
        versions = {(wheel.name, wheel.version) for wheel in wheels}
        for path, new in alias_packages(sorted(versions), wanted, self._directory):
            self._add(path, new=new)


class _Catalogue:
    """The wheels of a closure by name, fetched when somebody wants to read them."""

    def __init__(self, wheels: Iterable[Wheel], download: Download, scratch: Path) -> None:
        self._wheels = {wheel.name: wheel for wheel in wheels}
        self._locks = {name: Lock() for name in self._wheels}
        self._download = download
        self._scratch = scratch

    def path(self, wheel: Wheel) -> Path:
        with self._locks[wheel.name]:
            return self._download.fetch(wheel, self._scratch)

    def metadata(self, name: str) -> Metadata | None:
        wheel = self._wheels.get(name)
        return None if wheel is None else read_metadata(self.path(wheel))


def _index(directory: Path) -> None:
    from rattler.index import index_fs

    asyncio.run(index_fs(directory, write_zst=True, write_shards=False))
    shutil.rmtree(directory / ".tmp", ignore_errors=True)  # the indexer leaves it behind
