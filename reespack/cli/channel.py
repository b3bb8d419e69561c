"""`reespack channel create`: a local conda channel from this machine's Pythons and wheels."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Json,
    Offline,
    Quiet,
    Traceback,
    Verbose,
)

__all__ = ["create"]


def create(  # noqa: PLR0913 - each is an option
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The channel's folder, made or extended.")
    ],
    requirements: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REQUIREMENT]...", help="What pip would install."),
    ] = None,
    *,
    python: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X.Y", help="A CPython of this machine. [repeatable; default: this one]"
        ),
    ] = None,
    requirement_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--requirement", "-r", metavar="FILE", help="A requirements file. [repeatable]"
        ),
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DISTRIBUTION", help="Another name for a distribution. [repeatable]"
        ),
    ] = None,
    offline: Offline = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Make a local conda channel out of CPythons of this machine and wheels of the index.

    Running it again adds what is missing and rebuilds nothing.
    """
    from reespack.channel import create_channel
    from reespack.config import load_settings

    settings = load_settings(flags={"offline": offline or None})
    report = create_channel(
        directory,
        requirements=requirements or (),
        requirement_files=requirement_files or (),
        pythons=python or (),
        aliases=alias or (),
        index=settings.package_index(),
        progress=make_console(verbose=verbose, quiet=quiet),
    )
    if json:
        from reespack.json_form import to_json

        write_document(to_json(report))
        return
    if quiet:
        return
    kept = f", {len(report.kept)} were there" if report.kept else ""
    made = f"{len(report.built)} package{'s' if len(report.built) != 1 else ''} made"
    where = directory.absolute()
    write_out(
        [
            f"{where}: {made}{kept}; Python {', '.join(report.pythons)}",
            "",
            "Next:",
            f"  reespack build REPO --channel-alias conda-forge={where}",
        ]
    )
