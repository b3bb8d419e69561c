"""The environment's own Python, compiling in as many processes as there are threads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from reespack.errors import PackError
from reespack.site_packages import python_folders
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Compiled", "Compiler", "Interpreter", "interpreter"]

_WORKER = Path(__file__).with_name("worker.py")
_BATCH = 1 << 19
"""Bytes of source that a process is given at once."""

_VERSION = re.compile(r"python3\.([0-9]+)t?")
_FIRST_MINOR = 7
_NUMBER = struct.Struct(">I")
_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A source as it was read, and its bytecode: empty when it does not compile."""

    source: str
    source_sha256: str
    content: bytes


@dataclass(frozen=True, slots=True)
class _Read:
    source: str
    sha256: str
    content: bytes


class _Died(Exception):  # noqa: N818 - no error yet: another process takes the work over
    """A process ended without having answered."""


_CRASHES = frozenset(
    -number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL)
)
"""How a source ends the compiler by itself, for example by being nested too deeply."""


class _Process:
    """One process of the environment's Python that compiles."""

    def __init__(self, prefix: Path) -> None:
        self._process = subprocess.Popen(
            [prefix.absolute() / "bin/python", "-S", "-s", "-B", "-W", "ignore", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=prefix,
            # Before Python 3.11 the order of a frozen set's elements goes by their hashes.
            env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        )
        send, receive = self._process.stdin, self._process.stdout
        if send is None or receive is None:
            raise PackError("a process for compiling has no pipes")
        self._send: IO[bytes] = send
        self._receive: IO[bytes] = receive
        self.tag = self._receive.readline().decode().strip()

    def ask(self, batch: Sequence[_Read]) -> None:
        """Give the process sources to compile."""
        pieces = [_NUMBER.pack(len(batch))]
        for one in batch:
            name = os.fsencode(one.source)
            pieces += [_LENGTHS.pack(len(name), len(one.content)), name, one.content]
        with contextlib.suppress(BrokenPipeError):  # `answers` tells
            self._send.write(b"".join(pieces))
            self._send.flush()

    def answers(self, count: int) -> list[bytes]:
        """Return the bytecode of the batch that was asked for last; raise _Died."""
        return [self._read(_NUMBER.unpack(self._read(_NUMBER.size))[0]) for _ in range(count)]

    def _read(self, size: int) -> bytes:
        content = self._receive.read(size)
        if len(content) < size:
            raise _Died
        return content

    def ending(self) -> int:
        """Wait for a process that has died; return its exit code, or a signal's as a negative."""
        return self._process.wait()

    def close(self, *, kill: bool = False) -> None:
        """End the process."""
        if kill:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._send.close()
        self._receive.close()
        self._process.wait()


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: `cache_tag` stands in the names of its bytecode, all that this depends on in `tag`.

    Two versions may have one magic number and differ in how they compile.
    """

    cache_tag: str
    tag: str


def interpreter(prefix: Path) -> Interpreter | None:
    """Return a prefix's Python; None for none, or one without unchecked-hash bytecode (PEP 552).

    Raises PackError for one that does not run.
    """
    folders = (_VERSION.fullmatch(folder.name) for folder in python_folders(prefix))
    if not any(found and int(found[1]) >= _FIRST_MINOR for found in folders):
        return None
    if not (prefix / "bin/python").exists():
        return None
    try:
        process = _Process(prefix)
    except OSError as error:
        raise PackError(f"the environment's Python cannot be run: {error.strerror}") from error
    process.close()
    words = process.tag.split()
    if not words:
        raise PackError("the environment's Python does not run", hint="try it: bin/python -S -V")
    return Interpreter(words[0], "-".join(words)) if words[0].startswith("cpython-") else None


class Compiler(Value):
    """Compiles sources of a prefix; `finish` is called for each, by one thread at a time."""

    prefix: Path
    threads: int
    finish: Callable[[Compiled], None]

    def run(self, sources: Iterable[str]) -> None:
        """Compile all `sources`, paths in the prefix. Raises OSError for one that is unreadable."""
        batches = self._batches(sources)
        lock = threading.Lock()
        failed = threading.Event()

        def following() -> list[_Read]:
            with lock:
                return [] if failed.is_set() else next(batches, [])

        def finish(compiled: list[Compiled]) -> None:
            with lock:
                for one in compiled:
                    self.finish(one)

        def work() -> None:
            try:
                self._work(following, finish)
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(self.threads) as pool:
            for future in [pool.submit(work) for _ in range(self.threads)]:
                future.result()

    def _batches(self, sources: Iterable[str]) -> Iterator[list[_Read]]:
        batch: list[_Read] = []
        size = 0
        for source in sources:
            content = (self.prefix / source).read_bytes()
            batch.append(_Read(source, hashlib.sha256(content).hexdigest(), content))
            size += len(content)
            if size >= _BATCH:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _work(
        self, following: Callable[[], list[_Read]], finish: Callable[[list[Compiled]], None]
    ) -> None:
        """Keep one process busy: the next batch is read while it compiles."""
        batch = following()
        while batch:
            process = _Process(self.prefix)
            whole = False
            try:
                process.ask(batch)
                while batch:
                    after = following()
                    done = process.answers(len(batch))
                    process.ask(after)
                    finish(_joined(batch, done))
                    batch = after
                whole = True
            except _Died:
                finish([self._alone(one) for one in batch])
                batch = after
            finally:
                process.close(kill=not whole)

    def _alone(self, one: _Read) -> Compiled:
        """Compile a source of a batch that ended its process; what ends another has no bytecode."""
        process = _Process(self.prefix)
        try:
            process.ask([one])
            return _joined([one], process.answers(1))[0]
        except _Died:
            if process.ending() not in _CRASHES:
                raise PackError(
                    f"the environment's Python was ended while it compiled {one.source}",
                    hint="was there too little memory? Try again, or with fewer --threads",
                ) from None
            return Compiled(one.source, one.sha256, b"")
        finally:
            process.close(kill=True)


def _joined(batch: Sequence[_Read], done: Sequence[bytes]) -> list[Compiled]:
    return [
        Compiled(one.source, one.sha256, content) for one, content in zip(batch, done, strict=True)
    ]
