"""`reespack unpack`: an archive becomes an environment that is ready to run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Json,
    Quiet,
    Threads,
    Traceback,
    Verbose,
)
from reespack.cli.terminal import size, style_of

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
    from reespack.installing.digest import Snapshot, told_beside
    from reespack.some_settings import load_threads
    from reespack.unpack import unpack as unpack_archive

    made = unpack_archive(
        archive,
        folder,
        threads=load_threads(threads),
        sha256=told_beside(Snapshot(archive)),
        progress=make_console(verbose=verbose, quiet=quiet),
    )
    if json:
        write_document(
            {"format": 1, "environment": str(made.path), "files": made.files, "size": made.size}
        )
    elif quiet:
        write_out([str(made.path)])
    else:
        style = style_of(sys.stdout)
        write_out(
            [
                f"{made.path}: {made.files} files, {size(made.size)}",
                "",
                style("Next:", "bold"),
                f"  source {shlex.quote(str(made.path / 'bin' / 'activate'))}",
            ]
        )
