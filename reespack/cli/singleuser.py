"""`reespack singleuser`: what a JupyterHub's job runs. Hundreds start at 9 o'clock: no typer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from reespack.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HELP", "singleuser"]

HELP = """\
Usage: reespack singleuser [--choose-port] ARCHIVE -- COMMAND...

  Run a JupyterHub's server in an archive's environment, unpacked into the
  store if no store has it yet. Progress is told to the Hub. A Hub that
  `reespack.hub` configures puts this into its jobs; see docs/hub.md.

Options:
  --choose-port    Find a free port, and tell the Hub as batchspawner does.
  -h, --help       Show this message and exit.
"""

_SEE = "see `reespack singleuser --help`"


def singleuser(words: Sequence[str]) -> NoReturn:
    """Run `reespack singleuser WORDS`: become the server, or raise what kept it from it."""
    if words and words[0] in {"-h", "--help"}:
        from reespack.cli.console import write_out

        write_out(HELP.splitlines())
        raise SystemExit(0)
    from reespack.singleuser import run_server

    left = list(words)
    choose_port = left[:1] == ["--choose-port"]
    if choose_port:
        left.pop(0)
    if len(left) < 3 or left[0].startswith("-") or left[1] != "--":  # noqa: PLR2004 - A -- C
        raise UsageError("an archive, -- and a command are needed", hint=_SEE)
    run_server(Path(left[0]), left[2:], choose_port=choose_port)
