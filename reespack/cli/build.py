"""`reespack build`: everything, from a repository to an archive."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (
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
    make_request,
)
from reespack.cli.terminal import Style, size, style_of, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.comparing import Comparison
    from reespack.pipeline import BuildResult

__all__ = ["build"]

_SHOWN = 20


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
    from reespack import pipeline
    from reespack.config import load_settings
    from reespack.errors import UsageError

    settings = load_settings(
        flags={
            "channel_alias": channel_alias,
            "apt": apt,
            "apt_table": apt_table,
            "default_python": default_python,
            "offline": offline or None,
            "timeout": timeout,
            "threads": threads,
            "format": archive_format,
        }
    )
    if locked and update_lock:
        raise UsageError(
            "--locked and --update-lock contradict each other", hint="leave one of them out"
        )
    result = pipeline.build(
        make_request(
            source,
            ref=ref,
            subdir=subdir,
            channels=channels,
            extras=extras,
            allow_empty=allow_empty,
        ),
        settings=settings,
        options=pipeline.BuildOptions(
            output=output,
            name=name,
            format=settings.format,
            locked=locked,
            update_lock=update_lock,
            self_extracting=self_extracting,
            check_reproducible=check_reproducible,
        ),
        progress=make_console(verbose=verbose, quiet=quiet),
    )
    if json:
        write_document(_document(result))
    elif quiet:
        write_out([str(result.archive)])
    else:
        write_out(_summary(result))
    if result.comparison is not None:
        _require_equal(result.comparison, quiet=quiet or json, verbose=verbose)


def _require_equal(comparison: Comparison, *, quiet: bool, verbose: bool) -> None:
    """Raise NotReproducibleError, naming what differs, unless two builds made the same."""
    from reespack.errors import NotReproducibleError

    if comparison.equal:
        if not quiet:
            write_out(["", "Built twice, in different surroundings: the same bytes."])
        return
    fields = [
        f"{one.name}: {one.first or '-'} and {one.second or '-'}"
        for one in (*comparison.settings, *comparison.conda, *comparison.pip)
    ]
    files = [(one.path, one.what, f"by {one.by}") for one in comparison.files or ()]
    lines = [*table(files, style=Style(enabled=False)), *fields]
    shown = lines if verbose else lines[:_SHOWN]
    if len(lines) > len(shown):
        shown.append(f"... and {len(lines) - _SHOWN} more (--verbose has all)")
    by_post_build = any(one.by == "postBuild" for one in comparison.files or ())
    count = len(files)
    raise NotReproducibleError(
        f"two builds differ in {count} file{'' if count == 1 else 's'}"
        if files
        else "two builds differ in what their manifests say",
        hint="postBuild should use no clock and no chance: SOURCE_DATE_EPOCH is the commit's time"
        if by_post_build
        else "the archive is there all the same; its manifest lists the files",
        detail="\n".join(shown),
    )


def _files(result: BuildResult) -> tuple[Path, ...]:
    return (
        result.archive,
        result.lockfile,
        result.manifest_file,
        result.kernelspec,
        *([result.run_script] if result.run_script else []),
        result.sums,
    )


def _summary(result: BuildResult) -> Iterator[str]:
    from reespack.manifest import kernelspecs_of

    style = style_of(sys.stdout)
    output = result.archive.parent
    yield ""
    yield style(f"{output}/", "bold")
    rows = [
        (f"{path.name}/", _size_of_folder(path))
        if path.is_dir()
        else (path.name, size(path.stat().st_size))
        for path in _files(result)
    ]
    widest = max(len(row[1]) for row in rows)
    yield from table([(name, amount.rjust(widest)) for name, amount in rows], style=style, indent=2)
    yield ""
    yield style("Next, here or on another machine:", "bold")
    yield f"  reespack unpack {quote(str(result.archive))} FOLDER"
    kernel = kernelspecs_of(result.manifest)[0].name
    yield f"  jupyter kernelspec install --user --name {kernel} {quote(str(result.kernelspec))}"


def _size_of_folder(folder: Path) -> str:
    return size(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def _document(result: BuildResult) -> dict[str, object]:
    return {
        "format": 1,
        "key": result.key,
        "cached": result.cached,
        "archive": str(result.archive),
        "size": result.archive.stat().st_size,
        "lockfile": str(result.lockfile),
        "manifest": str(result.manifest_file),
        "kernelspec": str(result.kernelspec),
        "run_script": str(result.run_script) if result.run_script else None,
        "sums": str(result.sums),
        **_reproducible(result.comparison),
    }


def _reproducible(comparison: Comparison | None) -> dict[str, object]:
    """Return what `--check-reproducible` adds to the document."""
    from reespack.json_form import to_json

    if comparison is None:
        return {}
    parts = ("settings", "conda", "pip", "files")
    return {
        "reproducible": comparison.equal,
        "differences": {name: to_json(getattr(comparison, name)) for name in parts},
    }
