"""What reespack says: documents on stdout; progress, warnings and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from reespack.cli.terminal import columns, flowed, plain, size, style_of, titled
from reespack.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from rich.progress import Progress as Bars

    from reespack.progress import Advance, Unit

__all__ = ["Console", "make_console", "write_document", "write_error", "write_line", "write_out"]

BROKEN_PIPE = 141
_LONGEST_LABEL = 34


# --- stdout ------------------------------------------------------------------------------------


def write_out(lines: Iterable[str]) -> None:
    """Write lines to stdout; when nobody reads them any more, end as a Unix filter does."""
    text = "".join(f"{line}\n" for line in lines)
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        # What Python still holds for stdout must have somewhere to go at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from None


def write_document(document: object) -> None:
    """Write one JSON document to stdout."""
    write_out([json.dumps(document, indent=2, ensure_ascii=False)])


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # the C locale
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
    stream.flush()


# --- stderr ------------------------------------------------------------------------------------


def write_line(line: str) -> None:
    """Write a line to stderr; nobody there to read it is no reason to fail."""
    with contextlib.suppress(OSError, ValueError):
        _write(sys.stderr, f"{line}\n")


def write_error(message: str, *, hint: str | None = None, detail: str | None = None) -> None:
    """Write an error: one line, the hint, and the detail below."""
    style, width = style_of(sys.stderr), _terminal_width()
    for line in titled(style("error:", "red", "bold"), "error:", plain(message), width=width):
        write_line(line)
    if hint:
        for line in titled(style("hint:", "cyan", "bold"), "hint:", plain(hint), width=width):
            write_line(line)
    for long in (detail or "").rstrip().splitlines():
        for line in flowed(f"  {plain(long)}".rstrip(), width=width):
            write_line(line)


def _terminal_width() -> int | None:
    """Return the width of the terminal that stderr is; None for a file, whose lines stay whole."""
    return columns(sys.stderr) if sys.stderr.isatty() else None


def make_console(*, verbose: bool = False, quiet: bool = False) -> Console:
    """Return what listens to the phases; raise UsageError for both options at once."""
    if verbose and quiet:
        raise UsageError("--verbose and --quiet contradict each other", hint="leave one out")
    return Console(verbose=verbose, quiet=quiet)


class Console:
    """Shows progress: bars on a terminal, lines elsewhere. It is a `reespack.progress.Progress`."""

    def __init__(self, *, verbose: bool, quiet: bool) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self._style = style_of(sys.stderr)
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bars: Bars | None = None
        self._open_tasks = 0
        self._done: list[tuple[int, str, str]] = []

    def step(self, message: str) -> None:
        """Show a line, unless quiet."""
        if not self.quiet:
            self._step(message)

    def _step(self, message: str, *, amount: str = "") -> None:
        lines = [_sentence(message)]
        if self._on_terminal:
            mark = self._style("*", "green", "bold")
            lines = titled(mark, "*", lines[0], width=_terminal_width())
        lines[-1] = f"{lines[-1]}  {self._style(amount, 'dim')}".rstrip()
        for line in lines:
            self._line(line)

    def detail(self, message: str) -> None:
        """Show a line in a verbose run."""
        if self.verbose:
            self._line(self._style(f"  {plain(message)}", "dim"))

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Show a warning, always."""
        title = self._style("warning:", "yellow", "bold")
        for line in titled(title, "warning:", plain(message), width=_terminal_width()):
            self._line(line)
        if hint:
            title = f"   {self._style('hint:', 'cyan')}"
            for line in titled(title, "   hint:", plain(hint), width=_terminal_width()):
                self._line(line)

    def output(self, line: str) -> None:
        """Show a line of a program of the user's, unless quiet."""
        if not self.quiet:
            self._line(f"{self._style('  |', 'dim')} {plain(line)}".rstrip())

    @contextlib.contextmanager
    def task(
        self, label: str, *, total: int | None = None, unit: Unit = "items"
    ) -> Iterator[Advance]:
        """Show a bar while something takes its time, and a line when it is done.

        Where there is no terminal, there is the line only, when it begins.
        """
        if self.quiet or not self._on_terminal:
            self.step(label)
            yield _stand_still
            return
        bars = self._started_bars()
        task = bars.add_task(_sentence(label)[:_LONGEST_LABEL], total=total, unit=unit)
        done = 0
        ended = False

        def advance(amount: int, /, *, total: int | None = None) -> None:
            nonlocal done
            done += amount
            bars.update(task, advance=amount, total=total)

        try:
            yield advance
            ended = True
        finally:
            bars.remove_task(task)
            if ended and done:
                self._done.append((task, label, size(done) if unit == "bytes" else str(done)))
            self._stop_bars()

    def _line(self, text: str) -> None:
        if self._bars is None:
            write_line(text)
            return
        from rich.text import Text

        # Lines above a bar that is being drawn go through rich, and are never broken by it.
        with contextlib.suppress(OSError):
            self._bars.console.print(Text.from_ansi(text), soft_wrap=True)

    def _started_bars(self) -> Bars:
        self._open_tasks += 1
        if self._bars is None:
            self._bars = _make_bars()
            self._bars.start()
        return self._bars

    def _stop_bars(self) -> None:
        self._open_tasks -= 1
        if self._open_tasks == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None
            # Tasks that ran at once are told in the order in which they began.
            for _, label, amount in sorted(self._done):
                self._step(label, amount=amount)
            self._done.clear()


def _sentence(text: str) -> str:
    """Return a phase's words as a line of its own begins: a path or a URL keeps its letters."""
    line = plain(text)
    first = line.partition(" ")[0]
    return line[:1].upper() + line[1:] if first.isalpha() else line


def _stand_still(amount: int, /, *, total: int | None = None) -> None:
    """Take an advance without showing it."""


def _make_bars() -> Bars:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        """How much of a task is done, in its own unit."""

        def render(self, task: Task) -> Text:
            show: Any = size if task.fields.get("unit") == "bytes" else str
            done = show(int(task.completed))
            if task.total is None:
                return Text(done if task.completed else "", style="dim")
            return Text(f"{done} / {show(int(task.total))}", style="dim")

    wide = columns(sys.stderr) or 80
    return Progress(
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=min(32, max(10, wide - 66))),
        Amount(),
        console=RichConsole(stderr=True, highlight=False, markup=False),
        transient=True,
    )
