"""`reespack unpack`: an archive becomes an environment that is ready to run.

Jobs begin with it, on many nodes at once, so plain words do without typer (see
`reespack.cli.plain`). `reespack.cli.unpack_options` is what typer is told.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.plain import FLAGS, Words, count, understood
from reespack.cli.terminal import size, style_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["plain_words", "unpack"]

_WORDS = Words(
    arguments={"archive": Path, "folder": Path},
    flags=FLAGS,
    options={"--threads": ("threads", count)},
)


def plain_words(words: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments for `unpack` that typer would make of `words`; None if it is to tell."""
    return understood(words, _WORDS)


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
