"""Bytecode for the Python sources of a prefix, compiled once for each package and Python.

Compiling everything takes longer than all the rest of a build, and an environment that travels
without bytecode starts three times as slowly, each time where it cannot be written to. So it is
compiled here, kept in the cache, and packed from there.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from reespack.bytecode.bundle import new_bundle, read_bundle
from reespack.bytecode.compiler import Compiler, interpreter
from reespack.bytecode.snapshot import with_own_bundles
from reespack.bytecode.sources import python_sources
from reespack.errors import PackError
from reespack.products import Bytecode
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reespack.bytecode.bundle import BundleWriter
    from reespack.bytecode.compiler import Compiled
    from reespack.bytecode.sources import Package
    from reespack.products import Prefix
    from reespack.progress import Progress

__all__ = ["compile_sources", "with_own_bundles"]


def compile_sources(  # noqa: PLR0913 - what is compiled, and where it is kept
    prefix: Prefix,
    records: Sequence[Mapping[str, Any]],
    files: Iterable[str],
    *,
    cache: Path,
    shared_cache: Path | None = None,
    threads: int,
    progress: Progress = QUIET,
) -> tuple[Bytecode, ...]:
    """Return bytecode for every Python source of a prefix that compiles, sorted by path.

    `records` are conda's, and `files` the paths of all regular files in the prefix, which stays as
    it is. The bytecode lies in files in `cache`, or in `shared_cache`, which nothing is written to,
    for whoever packs it. The same sources and Python always lead to the same bytes. Raises
    PackError when a source cannot be read, the environment's Python does not run, or `cache` cannot
    be written.
    """
    with ThreadPoolExecutor(1) as pool:  # Python takes its time to start
        asked = pool.submit(interpreter, prefix.path)
        packages = python_sources(prefix, records, files)
        python = asked.result()
    if python is None:
        return ()
    shelf = cache / python.tag
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        below = shared_cache / python.tag if shared_cache else None
        shelved = [_Shelved(package, shelf, below) for package in packages]
        _compile(prefix, shelved, threads, progress)
        found = [one for package in shelved for one in package.bytecode(f".{python.cache_tag}.pyc")]
    except OSError as error:
        raise PackError(
            f"bytecode cannot be made: {error.filename or shelf}: {error.strerror or error}"
        ) from error
    return tuple(sorted(found, key=lambda one: os.fsencode(one.path)))


class _Shelved:
    """A package and its bundle, which may be missing or lack some of the sources."""

    def __init__(self, package: Package, shelf: Path, below: Path | None) -> None:
        self.sources = package.sources
        self._target = self._path = shelf / package.key
        self._entries = read_bundle(self._path)
        if below and not self._entries:
            self._path = below / package.key
            self._entries = read_bundle(self._path)
        self.missing = sorted(self.sources.keys() - self._entries.keys())
        self._writer: BundleWriter | None = None
        self._open = contextlib.ExitStack()
        self._left = len(self.missing)

    def take(self, done: Compiled) -> None:
        """Put what was compiled into the bundle, if it is what the package brought."""
        if self._writer is None:
            self._writer = self._open.enter_context(new_bundle(self._target))
            if self._entries:
                self._writer.take(self._path, self._entries)
        if self.sources[done.source] in {None, done.source_sha256}:
            self._writer.add(done.source, done.source_sha256, done.content)
        self._left -= 1
        if not self._left:
            self._open.close()
            self._path = self._target
            self._entries = read_bundle(self._path)

    def abandon(self) -> None:
        """Leave nothing of an unfinished bundle behind."""
        failure = InterruptedError("compiling was given up")
        with contextlib.suppress(InterruptedError):
            self._open.__exit__(type(failure), failure, None)

    def bytecode(self, suffix: str) -> Iterator[Bytecode]:
        """Yield what the bundle has for the package's sources."""
        with contextlib.suppress(OSError):
            os.utime(self._path)  # it is in use, for whoever tidies the cache up
        for source in self.sources.keys() & self._entries.keys():
            source_sha256, offset, size, sha256 = self._entries[source]
            folder, _, name = source.rpartition("/")
            if size:
                yield Bytecode(
                    path=f"{folder}/__pycache__/{name[:-3]}{suffix}",
                    source=source,
                    source_sha256=source_sha256,
                    file=self._path,
                    offset=offset,
                    size=size,
                    sha256=sha256,
                )


def _compile(
    prefix: Prefix, packages: Sequence[_Shelved], threads: int, progress: Progress
) -> None:
    """Complete the bundles."""
    homes = {source: package for package in packages for source in package.missing}
    if not homes:
        return
    with progress.task("compiling", total=len(homes)) as advance:

        def finish(done: Compiled) -> None:
            homes[done.source].take(done)
            advance(1)

        try:
            Compiler(prefix=prefix.path, threads=threads, finish=finish).run(homes)
        except BaseException:
            for package in packages:
                package.abandon()
            raise
