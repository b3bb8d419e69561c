"""`reespack unpack`: an archive becomes an environment that is ready to run."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Json,
    Quiet,
    Traceback,
    Verbose,
)

__all__ = ["unpack"]


def unpack(
    archive: Archive,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The environment's folder, new or empty.")
    ],
    *,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Unpack an archive into a folder; its kernel runs from there at once."""
    from reespack.unpacking import unpack as unpack_archive

    progress = make_console(verbose=verbose, quiet=quiet)
    environment = unpack_archive(archive, folder, progress=progress)
    if json:
        write_document({"format": 1, "environment": str(environment)})
    elif quiet:
        write_out([str(environment)])
    else:
        write_out(
            [
                "",
                f"The environment is {environment}",
                "",
                "Next:",
                f"  source {environment}/bin/activate",
            ]
        )
