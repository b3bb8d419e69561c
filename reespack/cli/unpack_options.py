"""The options of `reespack unpack`, and its help; to run, `reespack.cli.unpack` needs no typer."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Json,
    Quiet,
    Threads,
    Traceback,
    Verbose,
)

__all__ = ["unpack"]


def unpack(  # noqa: PLR0913 - each is an option
    archive: Archive,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The environment's folder, new or empty.")
    ],
    *,
    threads: Threads = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Unpack an archive into a folder; its kernel runs from there at once.

    With --quiet, stdout is the environment's path and nothing else.
    """
    from reespack.cli.unpack import unpack as run

    run(archive, folder, threads=threads, json=json, verbose=verbose, quiet=quiet)
