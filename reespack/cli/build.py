"""`reespack build`: everything, from a repository to an archive.

A job or a script may ask for it each time, and most of the time nothing has changed; so plain words
do without typer (see `reespack.cli.plain`). `reespack.cli.build_options` is what typer is told.
"""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.plain import FLAGS, Words, count, understood
from reespack.cli.request import make_request
from reespack.cli.terminal import Style, size, style_of, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reespack.comparing import Comparison
    from reespack.pipeline import BuildResult

__all__ = ["build", "plain_words"]

_SHOWN = 20

_WORDS = Words(
    arguments={"source": str},
    flags={
        **FLAGS,
        "--allow-empty": "allow_empty",
        "--check-reproducible": "check_reproducible",
        "--locked": "locked",
        "--offline": "offline",
        "--self-extracting": "self_extracting",
        "--update-lock": "update_lock",
    },
    options={
        "--format": ("archive_format", str),
        "--name": ("name", str),
        "--output": ("output", Path),
        "--ref": ("ref", str),
        "--subdir": ("subdir", str),
        "--threads": ("threads", count),
        "-o": ("output", Path),
    },
)


def plain_words(words: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments for `build` that typer would make of `words`; None if it is to tell."""
    return understood(words, _WORDS)


def build(  # noqa: PLR0913 - each is an option
    source: str,
    *,
    output: Path = Path("dist"),
    name: str | None = None,
    archive_format: str | None = None,
    locked: bool = False,
    update_lock: bool = False,
    check_reproducible: bool = False,
    self_extracting: bool = False,
    ref: str | None = None,
    subdir: str | None = None,
    channels: Sequence[str] | None = None,
    channel_alias: Sequence[str] | None = None,
    extras: Sequence[str] | None = None,
    apt: str | None = None,
    apt_table: Path | None = None,
    default_python: str | None = None,
    allow_empty: bool = False,
    offline: bool = False,
    timeout: float | None = None,
    threads: int | None = None,
    json: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Build a repository's environment and archive, and say on stdout what came of it.

    Raises UsageError for options that contradict each other, NotReproducibleError when two builds
    differ, and as `reespack.pipeline.build` does.
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
