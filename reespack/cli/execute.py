"""`reespack exec`: a command in an environment, which is unpacked first if need be.

Many of these start at once on a node, so it goes without typer: what it needs is imported, no more.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from reespack.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from reespack.progress import Advance, Unit

__all__ = ["execute"]


class _Lines:
    """Says what happens in lines on stderr; whoever waits for a bar may use `install` first."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self._verbose = verbose

    def step(self, message: str) -> None:
        """Show a line, unless quiet."""
        if not self._quiet:
            _say(message)

    def detail(self, message: str) -> None:
        """Show a line when verbose."""
        if self._verbose:
            _say(message)

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Show a warning, and what to do about it."""
        _say(f"warning: {message}" + (f" ({hint})" if hint else ""))

    def output(self, line: str) -> None:
        """Show what a program printed."""
        self.detail(line)

    def task(
        self, label: str, *, total: int | None = None, unit: Unit = "items"
    ) -> AbstractContextManager[Advance]:
        """Show how far unpacking is, in lines a second or more apart."""
        return _told_in_steps(self, label, total, unit)


def _say(message: str) -> None:
    try:
        sys.stderr.write(f"reespack: {message}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def execute(words: Sequence[str]) -> NoReturn:
    """Run `reespack exec WORDS`: become the command, or raise what kept it from it."""
    from reespack.installing import become, open_environment, open_stores
    from reespack.store_settings import load_store_settings

    options, archive, command = _parsed(words)
    settings = load_store_settings(store=options["store"])
    installation = open_environment(
        archive,
        stores=open_stores(settings),
        mount=settings.mount,
        threads=options["threads"],
        progress=_Lines(quiet=options["quiet"], verbose=options["verbose"]),
    )
    become(installation, command)


def _parsed(words: Sequence[str]) -> tuple[dict[str, Any], Path, list[str]]:
    """Return options, archive and command; what follows the archive is the command's."""
    options: dict[str, Any] = {"store": None, "threads": None, "quiet": False, "verbose": False}
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "--":
        _take_option(left, options)
    if left and left[0] == "--":
        left.pop(0)
    if not left:
        raise UsageError("missing argument 'ARCHIVE'", hint=_SEE)
    archive = Path(left.pop(0))
    if left and left[0] == "--":
        left.pop(0)
    if not left:
        raise UsageError("missing argument 'COMMAND'", hint=_SEE)
    return options, archive, left


def _take_option(left: list[str], options: dict[str, Any]) -> None:
    """Take the first of the words, and its value, away."""
    word = left.pop(0)
    name, equals, value = word.partition("=")
    if name in _WITH_VALUE:
        if not equals and not left:
            raise UsageError(f"{name} needs a value", hint=_SEE)
        options[name[2:]] = _WITH_VALUE[name](value if equals else left.pop(0))
    elif word in _FLAGS:
        options[_FLAGS[word]] = True
    elif word == "--traceback":
        os.environ["REESPACK_TRACEBACK"] = "1"
    else:
        raise UsageError(f"no such option: {word}", hint=_SEE)


_SEE = "see `reespack exec --help`"


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise UsageError(f"--threads must be a whole number of at least 1, not {value!r}")
    return int(value)


_WITH_VALUE: dict[str, Callable[[str], object]] = {"--store": Path, "--threads": _count}
_FLAGS = {"-q": "quiet", "--quiet": "quiet", "-v": "verbose", "--verbose": "verbose"}


def _told_in_steps(
    lines: _Lines, label: str, total: int | None, unit: Unit
) -> AbstractContextManager[Advance]:
    from contextlib import contextmanager

    @contextmanager
    def task() -> Iterator[Advance]:
        import time

        done = 0
        size = total
        told = time.monotonic()

        def advance(amount: int, /, *, total: int | None = None) -> None:
            nonlocal done, size, told
            done += amount
            size = total if total is not None else size
            if size and unit == "bytes" and time.monotonic() - told >= 1:
                told = time.monotonic()
                lines.step(f"{label} {min(100, 100 * done // size)}%")

        yield advance

    return task()
