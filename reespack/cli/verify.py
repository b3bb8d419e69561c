"""`reespack verify`: whether an archive is what its manifest says."""

from __future__ import annotations

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Json,
    Quiet,
    Traceback,
    Verbose,
)

__all__ = ["verify"]


def verify(
    archive: Archive,
    *,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Check an archive's sums and every file in it against its manifest."""
    from reespack.unpacking import verify as verify_archive

    verify_archive(archive, progress=make_console(verbose=verbose, quiet=quiet))
    if json:
        write_document({"format": 1, "archive": str(archive), "verified": True})
    elif not quiet:
        write_out([f"{archive}: is what its manifest says"])
