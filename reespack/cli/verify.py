"""`reespack verify`: whether an archive is what its manifest says."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from reespack.archive.names import MANIFEST_BESIDE, beside
from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Json,
    Quiet,
    Threads,
    Traceback,
    Verbose,
)
from reespack.cli.terminal import columns, flowed, size
from reespack.errors import VerificationError

__all__ = ["verify"]

_SHOWN = 20


def verify(  # noqa: PLR0913 - each is an option
    archive: Archive,
    *,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The manifest to hold it against. [the one beside it]"),
    ] = None,
    threads: Threads = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Check an archive's sum and every file in it against its manifest.

    The manifest beside the archive knows its sum; the one within it knows its files.
    """
    from reespack.some_settings import load_threads
    from reespack.unpack import verify as verify_archive

    if manifest is None and (found_beside := beside(archive, MANIFEST_BESIDE)).is_file():
        manifest = found_beside
    console = make_console(verbose=verbose, quiet=quiet)
    found = verify_archive(archive, manifest, threads=load_threads(threads))
    if manifest is None:
        console.warn("there is no manifest beside the archive: its own sum is not checked")
    if json:
        from reespack.json_form import to_json

        write_document(
            {
                "format": 1,
                "archive": str(archive),
                "manifest": None if manifest is None else str(manifest),
                "verified": found.ok,
                "files": found.files,
                "size": found.size,
                "tree_digest": found.tree_digest,
                "damaged": to_json(found.damaged),
            }
        )
    if not found.ok:
        more = len(found.damaged) - _SHOWN
        lines = [str(damage) for damage in found.damaged[: None if verbose else _SHOWN]]
        if more > 0 and not verbose:
            lines.append(f"... and {more} more (--verbose has all)")
        raise VerificationError(
            f"{archive} is not what its manifest says",
            hint="fetch it again, or build it anew",
            detail="\n".join(lines),
        )
    if not json and not quiet:
        said = f"{archive}: {found.files} files, {size(found.size)}, as its manifest says"
        write_out(flowed(said, width=columns(sys.stdout)))
