"""`reespack unpack`: an archive becomes an environment that is ready to run.

Jobs begin with it, on many nodes at once, so plain words do without typer, which takes as long to
import as all the rest; `reespack.cli.unpack_options` is what typer is told.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.terminal import size, style_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["plain_words", "unpack"]

_FLAGS = {
    "--json": "json",
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
}


def plain_words(words: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments for `unpack` that typer would make of `words`.

    None for words that it does not take, or that ask for more than unpacking: typer tells what is
    to be told.
    """
    options: dict[str, Any] = {}
    paths: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            paths += left
        elif not word.startswith("-"):
            paths.append(word)
        elif word in _FLAGS:
            options[_FLAGS[word]] = True
        elif word == "--threads" and (count := next(left, "")).isdecimal():
            options["threads"] = int(count)
        else:
            return None
    if len(paths) != 2:  # noqa: PLR2004 - an archive, and a folder
        return None
    archive, folder = map(Path, paths)
    return {"archive": archive, "folder": folder, **options}


def unpack(  # noqa: PLR0913 - each is an option
    archive: Path,
    folder: Path,
    *,
    threads: int | None = None,
    json: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Unpack an archive into a folder, and say so on stdout.

    Raises UsageError for options that contradict each other, and as `reespack.unpack.unpack` does.
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
