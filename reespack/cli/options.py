"""The options that several commands share, spelled and explained once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Aliases",
    "AllowEmpty",
    "Apt",
    "AptTable",
    "Archive",
    "Channels",
    "DefaultPython",
    "Json",
    "Offline",
    "Quiet",
    "Ref",
    "Source",
    "Store",
    "Subdir",
    "Threads",
    "Traceback",
    "Verbose",
    "With",
]


def _remember_traceback(value: bool) -> None:
    if value:
        os.environ["REESPACK_TRACEBACK"] = "1"


Source = Annotated[
    str,
    typer.Argument(
        metavar="REPO", help="A folder, a git URL, or either with @REF.", show_default=False
    ),
]
Archive = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="An archive that reespack built.")]
Ref = Annotated[
    str | None,
    typer.Option(metavar="REF", help="A branch, tag or commit, checked out into the cache."),
]
Subdir = Annotated[
    str | None, typer.Option(metavar="DIR", help="Take this folder of the repository.")
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        "-c",
        metavar="CHANNEL",
        help="Ask this channel before all others. [repeatable]",
    ),
]
Aliases = Annotated[
    list[str] | None,
    typer.Option(
        "--channel-alias",
        metavar="NAME=URL",
        help="Where a channel really is: a URL or a folder. [repeatable]",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Use only what is on this machine.")]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="EXTRA",
        help="Add `server`: JupyterLab and what a JupyterHub starts. [repeatable]",
    ),
]
Apt = Annotated[
    str | None,
    typer.Option(
        metavar="error|warn|ignore", help="What to do about apt packages that have no counterpart."
    ),
]
AptTable = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A site's own table from apt names to conda packages."),
]
AllowEmpty = Annotated[
    bool,
    typer.Option("--allow-empty", help="Make a default environment of a repository without files."),
]
DefaultPython = Annotated[
    str | None,
    typer.Option(metavar="X.Y", help="The Python where nothing asks for one."),
]
Store = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The store, instead of the one that the settings name."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", help="Cores to use. [all that are given]")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only warnings and errors.")]
Traceback = Annotated[
    bool,
    typer.Option(
        "--traceback",
        help="Show where in reespack an error arose.",
        callback=_remember_traceback,
        expose_value=False,
    ),
]
