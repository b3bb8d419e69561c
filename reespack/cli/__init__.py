"""The command line: what a person types, and what they see."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from reespack.cli.utf8 import use_utf8
from reespack.errors import ReespackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["COLLECT", "main"]

INTERRUPTED = 130
TRACEBACK_VARIABLE = "REESPACK_TRACEBACK"

COLLECT = (100_000, 50)
"""How rarely cycles are looked for: a command makes a lot at once, and little garbage in cycles."""

_WITHOUT_TYPER = frozenset({"build", "detect", "unpack"})
"""Commands that need no typer for plain words. Module and function have the command's name."""

_ROOM = "make room, or set REESPACK_CACHE and --output to other disks"
_RIGHTS = "choose folders that you can write to with REESPACK_CACHE and --output"
# What the machine says, wherever it says it, is no bug of reespack's.
_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no exception leaves this function.

    An error is one line, a hint and a detail on stderr. Exit codes are those of reespack.errors,
    2 for words that make no command, 128 and the signal's number for an interrupt. Without `args`,
    those of the process are meant, and it is about to end.
    """
    codes: list[int] = []
    if args is None:
        gc.set_threshold(*COLLECT)
        use_utf8()
        atexit.register(_leave, codes)
    ended_by = _end_on_signals()
    try:
        words = sys.argv[1:] if args is None else list(args)
        code = _run(words)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except Exception as error:  # noqa: BLE001 - the last place that can say something about it
        code = _report(error)
    if ended_by:
        code = 128 + ended_by[0]
    if code in {INTERRUPTED, 128 + signal.SIGTERM, 128 + signal.SIGHUP}:
        _say_interrupted()
    codes.append(code)
    return code


def _run(words: Sequence[str]) -> int:
    """Run a command and return its exit code; those that batch jobs begin with need no typer."""
    if words[:1] == ["exec"] and not _asks_for_help(words):
        from reespack.cli.execute import execute

        execute(words[1:])
    if words[:1] == ["singleuser"]:
        from reespack.cli.singleuser import singleuser

        singleuser(words[1:])
    if words and words[0] in _WITHOUT_TYPER:
        module = importlib.import_module(f"reespack.cli.{words[0]}")
        options = module.plain_words(words[1:])
        if options is not None:
            getattr(module, words[0])(**options)
            return 0
    import typer

    from reespack.cli.app import make_app

    command = typer.main.get_command(make_app(words))
    result = command.main(args=list(words), prog_name="reespack", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _asks_for_help(words: Sequence[str]) -> bool:
    """Whether help is asked of `reespack exec` itself, not of the command that it runs."""
    return len(words) > 1 and words[1] in {"-h", "--help"}


def _leave(codes: Sequence[int]) -> None:
    """End the process before Python takes itself apart, which takes time and does nothing for us.

    And rattler has threads of its own: one of them may just be handing back the interpreter, which
    Python then takes for a fatal error (PyGILState_Release: thread state must be current when
    releasing) and aborts.
    """
    if not codes:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(codes[0])


def _end_on_signals() -> list[int]:
    """Have SIGTERM and SIGHUP end this process as Ctrl-C does, so that what it made is removed.

    Ctrl-C itself is taken here, too: asyncio would wait with it until the next `await`, and what a
    lock waits for is uv. Return the list that the signal's number will be in.
    """
    received: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        if not received:  # a second one does not interrupt the cleaning up
            received.append(number)
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # One that is ignored on purpose (nohup) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    return received


def _report(error: Exception) -> int:
    from reespack.cli.console import write_error, write_line

    if os.environ.get(TRACEBACK_VARIABLE, "") not in {"", "0"}:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ReespackError):
        write_error(error.message, hint=error.hint, detail=error.detail)
        return error.exit_code
    if isinstance(error.__cause__, KeyboardInterrupt):  # older typers wrap it
        return INTERRUPTED
    if type(error).__name__ == "NoArgsIsHelpError":  # nothing was asked: the help is the answer
        write_line(str(error))
        return 2
    format_message = getattr(error, "format_message", None)
    if callable(format_message):  # typer's own: the words make no command
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "reespack"
        message = str(format_message()).rstrip(".")
        write_error(message[:1].lower() + message[1:], hint=f"see `{path} --help`")
        return 2
    if isinstance(error, OSError) and error.errno in _HINTS:
        place = f" ({error.filename})" if error.filename else ""
        write_error(f"{error.strerror}{place}", hint=_HINTS[error.errno])
        return 1
    write_error(
        f"internal error: {type(error).__name__}: {error}",
        hint="this is a bug in reespack; please report it with what --traceback prints",
    )
    return 1


def _say_interrupted() -> None:
    from reespack.cli.console import write_line

    write_line("interrupted; nothing was left behind")
