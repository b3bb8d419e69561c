"""What `reespack exec --help` says; to run it, `reespack.cli.execute` goes without typer."""

from __future__ import annotations

from typing import Annotated

import typer

from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Quiet,
    Store,
    Threads,
    Traceback,
    Verbose,
)

__all__ = ["explain"]


def explain(  # noqa: PLR0913 - each is an option
    archive: Archive,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="What runs in the environment.")
    ],
    *,
    store: Store = None,
    threads: Threads = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Run a command in an archive's environment, unpacked first if no store has it yet.

    A squashfs archive is mounted instead, where that can be. The environment is active, the
    repository's `start` runs around the command, and signals and exit code are the command's own.
    Options of reespack's come before ARCHIVE.
    """
    from reespack.cli.execute import execute

    words = ["--store", str(store)] if store else []
    words += ["--threads", str(threads)] if threads else []
    words += ["--verbose"] * verbose + ["--quiet"] * quiet
    execute([*words, "--", str(archive), *command])
