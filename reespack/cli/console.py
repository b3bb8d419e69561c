"""What reespack says: documents on stdout; progress, warnings and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from reespack.cli.terminal import columns, plain, style_of
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
        import typer

        # What Python still holds for stdout must have somewhere to go at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None


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
    style = style_of(sys.stderr)
    write_line(f"{style('error:', 'red', 'bold')} {plain(message)}")
    if hint:
        write_line(f"{style('hint:', 'cyan', 'bold')} {plain(hint)}")
    for line in (detail or "").rstrip().splitlines():
        write_line(f"  {plain(line)}".rstrip())


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

    def step(self, message: str) -> None:
        """Show a line, unless quiet."""
        if not self.quiet:
            mark = f"{self._style('*', 'green', 'bold')} " if self._on_terminal else ""
            self._line(f"{mark}{_sentence(message)}")

    def detail(self, message: str) -> None:
        """Show a line in a verbose run."""
        if self.verbose:
            self._line(self._style(f"  {plain(message)}", "dim"))

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Show a warning, always."""
        self._line(f"{self._style('warning:', 'yellow', 'bold')} {plain(message)}")
        if hint:
            self._line(f"   {self._style('hint:', 'cyan')} {plain(hint)}")

    def output(self, line: str) -> None:
        """Show a line of a program of the user's, unless quiet."""
        if not self.quiet:
            self._line(f"{self._style('  |', 'dim')} {plain(line)}".rstrip())

    @contextlib.contextmanager
    def task(
        self, label: str, *, total: int | None = None, unit: Unit = "items"
    ) -> Iterator[Advance]:
        """Show a bar while something takes its time; a line where there is no terminal."""
        if self.quiet or not self._on_terminal:
            self.step(label)
            yield _stand_still
            return
        bars = self._started_bars()
        task = bars.add_task(_sentence(label)[:_LONGEST_LABEL], total=total, unit=unit)

        def advance(amount: int, /, *, total: int | None = None) -> None:
            bars.update(task, advance=amount, total=total)

        try:
            yield advance
        finally:
            bars.remove_task(task)
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

    from reespack.cli.terminal import size

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
