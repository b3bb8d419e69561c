"""The options of `reespack build`, and its help; to run, `reespack.cli.build` needs no typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Aliases,
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
    Threads,
    Traceback,
    Verbose,
    With,
)

__all__ = ["build"]


def build(  # noqa: PLR0913 - each is an option
    source: Source,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Where the files go.", show_default=True
        ),
    ] = Path("dist"),
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name that files and kernel go by."),
    ] = None,
    archive_format: Annotated[
        str | None,
        typer.Option("--format", metavar="tar.zst|tar.gz|squashfs", help="The archive's form."),
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Fail rather than solve: a lockfile must be there.")
    ] = False,
    update_lock: Annotated[
        bool, typer.Option("--update-lock", help="Solve anew, whatever lockfile is there.")
    ] = False,
    check_reproducible: Annotated[
        bool,
        typer.Option("--check-reproducible", help="Build twice, and say which files differ."),
    ] = False,
    self_extracting: Annotated[
        bool,
        typer.Option("--self-extracting", help="Make a .run.sh, too: one file that runs itself."),
    ] = False,
    ref: Ref = None,
    subdir: Subdir = None,
    channels: Channels = None,
    channel_alias: Aliases = None,
    extras: With = None,
    apt: Apt = None,
    apt_table: AptTable = None,
    default_python: DefaultPython = None,
    allow_empty: AllowEmpty = False,
    offline: Offline = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End a postBuild that takes longer."),
    ] = None,
    threads: Threads = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Build a repository's environment and pack it into one archive that runs elsewhere.

    With --quiet, stdout is the archive's path and nothing else.
    """
    from reespack.cli.build import build as run

    run(
        source,
        output=output,
        name=name,
        archive_format=archive_format,
        locked=locked,
        update_lock=update_lock,
        check_reproducible=check_reproducible,
        self_extracting=self_extracting,
        ref=ref,
        subdir=subdir,
        channels=channels,
        channel_alias=channel_alias,
        extras=extras,
        apt=apt,
        apt_table=apt_table,
        default_python=default_python,
        allow_empty=allow_empty,
        offline=offline,
        timeout=timeout,
        threads=threads,
        json=json,
        verbose=verbose,
        quiet=quiet,
    )
