"""The sum of an archive as a whole, taken while the archive is unpacked."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING

from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_file
from reespack.unpack.fork import alone, end, fork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["required_sum"]


@contextlib.contextmanager
def required_sum(archive: Path, sha256: str, *, threads: int) -> Iterator[None]:
    """Raise VerificationError at the end of the `with` when the archive's sha256 is another one.

    Another process takes it meanwhile, or another thread where there are others already; with one
    thread only, it is taken when all else is done. Raises the OSError of an archive that cannot be
    read, and UnpackError when that process is killed. What goes wrong inside comes first.
    """
    taking = _taking(archive, threads)
    try:
        yield
        digest = taking.result()
    finally:
        taking.end()
    if digest != sha256:
        raise VerificationError(
            f"{archive} is not the archive that the files beside it describe",
            hint="build or fetch it again, or remove the manifest and SHA256SUMS beside it",
            detail=f"its sha256 is {digest}\nexpected is   {sha256}",
        )


def _taking(archive: Path, threads: int) -> _Fork | _Thread | _Afterwards:
    if threads == 1:
        return _Afterwards(archive)
    return _Fork(archive) if alone() else _Thread(archive)


class _Fork:
    """A process that takes the sum."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        answers, said = os.pipe()
        self._answers = os.fdopen(answers, "rb")
        try:
            self._pid = fork(functools.partial(_say_sum, archive, said, os.getpid()))
        except BaseException:
            self._answers.close()
            raise
        finally:
            os.close(said)

    def result(self) -> str:
        """Wait for the sum."""
        said = self._answers.read().decode()
        if not said:
            raise UnpackError("a process for unpacking ended too early", hint="try again")
        if said.startswith(_ERROR):
            number = int(said.removeprefix(_ERROR))
            raise OSError(number, os.strerror(number), str(self._archive))
        return said

    def end(self) -> None:
        """Leave nothing of it behind."""
        end(self._pid)
        self._answers.close()


_ERROR = "error "


def _say_sum(archive: Path, said: int, parent: int) -> None:
    """Write an archive's sum into a pipe, or what is wrong; end when nobody is there to read it."""

    def go_on() -> None:
        if os.getppid() != parent:
            os._exit(0)

    try:
        answer = sha256_file(archive, go_on)
    except OSError as error:
        answer = f"{_ERROR}{error.errno}"
    os.write(said, answer.encode())


class _Thread:
    """A thread that takes the sum."""

    def __init__(self, archive: Path) -> None:
        import threading  # most of the time there is a fork

        self._archive = archive
        self._found: str | OSError = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        def go_on() -> None:
            if self._stop.is_set():
                raise InterruptedError

        try:
            self._found = sha256_file(self._archive, go_on)
        except OSError as error:
            self._found = error

    def result(self) -> str:
        """Wait for the sum."""
        self._thread.join()
        if isinstance(self._found, OSError):
            raise self._found
        return self._found

    def end(self) -> None:
        """Leave nothing of it behind."""
        self._stop.set()
        self._thread.join()


class _Afterwards:
    """The sum, taken when it is asked for."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    def result(self) -> str:
        """Take the sum."""
        return sha256_file(self._archive)

    def end(self) -> None:
        """Leave nothing behind: there is nothing."""
