"""`reespack lock`: a lockfile in conda-lock's format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
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
    Traceback,
    Verbose,
    With,
)
from reespack.cli.request import make_request
from reespack.errors import LockError, UsageError

if TYPE_CHECKING:
    from reespack.products import Lock

__all__ = ["lock"]


def lock(  # noqa: PLR0913 - each is an option
    source: Source,
    *,
    platforms: Annotated[
        list[str] | None,
        typer.Option(
            "--platform", "-p", metavar="PLATFORM", help="A conda platform. [repeatable; this one]"
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The lockfile; `-` is stdout.", show_default=True
        ),
    ] = Path("conda-lock.yml"),
    update: Annotated[
        list[str] | None,
        typer.Option(metavar="PKG", help="Let this package of the lockfile change. [repeatable]"),
    ] = None,
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
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Pin every package that a repository asks for, in a conda-lock file.

    Where the file exists, only what must change changes.
    """
    from reespack import pipeline
    from reespack.config import load_settings

    settings = load_settings(
        flags={
            "channel_alias": channel_alias,
            "apt": apt,
            "apt_table": apt_table,
            "default_python": default_python,
            "offline": offline or None,
        }
    )
    to_stdout = str(output) == "-"
    if to_stdout and json:
        raise UsageError("--json and --output - both want stdout", hint="leave one of them out")
    previous = output if not to_stdout and output.is_file() else None
    if update and previous is None:
        raise UsageError(
            f"--update needs a lockfile that it can update, and there is no {output}",
            hint="name it with --output, or lock without --update first",
        )
    made = pipeline.lock(
        make_request(
            source,
            ref=ref,
            subdir=subdir,
            channels=channels,
            extras=extras,
            allow_empty=allow_empty,
        ),
        settings=settings,
        platforms=tuple(platforms or ()),
        previous=previous,
        update=tuple(update or ()),
        progress=make_console(verbose=verbose, quiet=quiet),
    )
    if to_stdout:
        sys.stdout.write(made.text)
        sys.stdout.flush()
        return
    _write(output, made.text)
    if json:
        write_document(_document(made, output))
    elif not quiet:
        write_out(f"{output}: {_counts(made, one)} for {one}" for one in _platforms(made))


def _write(output: Path, text: str) -> None:
    from reespack.files import write_atomic

    try:
        write_atomic(output, text)
    except OSError as error:
        raise LockError(
            f"{output} cannot be written: {error.strerror}", hint="choose another with --output"
        ) from error


def _platforms(lock: Lock) -> list[str]:
    return [one.platform for one in lock.platforms]


def _counts(lock: Lock, platform: str) -> str:
    pinned = lock.for_platform(platform)
    if pinned is None:
        return "nothing"
    pip = f" and {len(pinned.pip)} of pip's" if pinned.pip else ""
    return f"{len(pinned.conda)} conda packages{pip}"


def _document(lock: Lock, output: Path) -> dict[str, object]:
    return {
        "format": 1,
        "lockfile": str(output),
        "sha256": lock.digest,
        "platforms": {
            one.platform: {"conda": len(one.conda), "pip": len(one.pip)} for one in lock.platforms
        },
    }
