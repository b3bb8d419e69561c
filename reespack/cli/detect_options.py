"""The options of `reespack detect`, and its help; to run, `reespack.cli.detect` needs no typer."""

from __future__ import annotations

from typing import Annotated

import typer

from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    AllowEmpty,
    Apt,
    AptTable,
    Channels,
    DefaultPython,
    Json,
    Offline,
    Quiet,
    Ref,
    Source,
    Subdir,
    Traceback,
    Verbose,
    With,
)

__all__ = ["detect"]


def detect(  # noqa: PLR0913 - each is an option
    source: Source,
    *,
    ref: Ref = None,
    subdir: Subdir = None,
    platform: Annotated[
        str | None,
        typer.Option("--platform", "-p", metavar="PLATFORM", help="A conda platform. [this one]"),
    ] = None,
    channels: Channels = None,
    extras: With = None,
    apt: Apt = None,
    apt_table: AptTable = None,
    default_python: DefaultPython = None,
    allow_empty: AllowEmpty = False,
    offline: Offline = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Say what each file of a repository means, and what environment comes of it."""
    from reespack.cli.detect import detect as run

    run(
        source,
        ref=ref,
        subdir=subdir,
        platform=platform,
        channels=channels,
        extras=extras,
        apt=apt,
        apt_table=apt_table,
        default_python=default_python,
        allow_empty=allow_empty,
        offline=offline,
        json=json,
        verbose=verbose,
        quiet=quiet,
    )
