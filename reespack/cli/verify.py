"""`reespack verify`: whether an archive is what its manifest says."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

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


_MANIFEST = ".manifest.json"
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
    from reespack.config import load_settings
    from reespack.unpack import verify as verify_archive

    beside = manifest or _beside(archive)
    console = make_console(verbose=verbose, quiet=quiet)
    threads = load_settings(flags={"threads": threads}).threads
    found = verify_archive(archive, beside, threads=threads)
    if beside is None:
        console.warn("there is no manifest beside the archive: its own sum is not checked")
    if json:
        from reespack.json_form import to_json

        write_document(
            {
                "format": 1,
                "archive": str(archive),
                "manifest": None if beside is None else str(beside),
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


def _beside(archive: Path) -> Path | None:
    """Return the manifest that `reespack build` put beside an archive, if it is there still."""
    for suffix in (".tar.zst", ".tar.gz", ".squashfs"):
        if archive.name.endswith(suffix):
            file = archive.with_name(archive.name.removesuffix(suffix) + _MANIFEST)
            return file if file.is_file() else None
    return None
