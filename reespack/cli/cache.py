"""`reespack cache`: how much there is, and how to have less."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Json,
    Quiet,
    Traceback,
    Verbose,
)
from reespack.cli.terminal import size, style_of, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.store import Cache
    from reespack.store.prune import Contents, Pruned

__all__ = ["clean", "info", "prune"]

_DAY = 86400

DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Say what would be removed, and remove nothing.")
]


def info(*, json: Json = False, _traceback: Traceback = False) -> None:
    """Show what is in the cache, how much of the disk it takes, and who uses it now."""
    from reespack.store.prune import inspect

    contents = inspect(_cache())
    if json:
        from reespack.json_form import FORMAT, to_json

        write_document(
            {
                "format": FORMAT,
                "root": str(contents.root),
                "size": contents.size,
                "parts": to_json(contents.parts),
                "users": list(contents.users),
            }
        )
        return
    write_out(_shown(contents))


def prune(  # noqa: PLR0913 - each is an option
    *,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Remove what was not used for so long: 12h, 30d, 8w."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove what was unused longest until so much is left."),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Remove what was not used for long; without a limit, only what killed builds left behind.

    What builds that are under way rely on stays, and they need not be stopped.
    """
    from reespack.cli.amounts import parse_duration, parse_size
    from reespack.store.prune import prune as remove

    pruned = remove(
        _cache(),
        older_than=None
        if older_than is None
        else parse_duration(older_than, option="--older-than"),
        max_size=None if max_size is None else parse_size(max_size, option="--max-size"),
        dry_run=dry_run,
        progress=make_console(verbose=verbose, quiet=quiet or json),
    )
    _tell(pruned, dry_run=dry_run, json=json, verbose=verbose, quiet=quiet)


def clean(
    *,
    dry_run: DryRun = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Remove everything that no build under way relies on."""
    from reespack.store.prune import clean as remove

    pruned = remove(
        _cache(), dry_run=dry_run, progress=make_console(verbose=verbose, quiet=quiet or json)
    )
    _tell(pruned, dry_run=dry_run, json=json, verbose=verbose, quiet=quiet)


def _cache() -> Cache:
    from reespack.config import load_settings
    from reespack.store import Cache

    return Cache(load_settings().cache)


def _shown(contents: Contents) -> Iterator[str]:
    style = style_of(sys.stdout)
    yield style(str(contents.root), "bold")
    rows = [
        (part.name, str(part.entries), size(part.size), _ago(part.oldest))
        for part in contents.parts
    ]
    rows.append(("all", str(sum(p.entries for p in contents.parts)), size(contents.size), ""))
    widths = [max(len(row[column]) for row in rows) for column in (1, 2)]
    aligned = [
        (name, count.rjust(max(widths[0], len("ENTRIES"))), amount.rjust(widths[1]), ago)
        for name, count, amount, ago in rows
    ]
    head = ("PART", "ENTRIES", "SIZE", "LONGEST UNUSED")
    yield from table(aligned, style=style, header=head, indent=2)
    for user in contents.users:
        yield f"  in use by {user}"


def _ago(moment: float | None) -> str:
    if moment is None:
        return "-"
    days = max(time.time() - moment, 0) / _DAY
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"  # noqa: PLR2004


def _tell(pruned: Pruned, *, dry_run: bool, json: bool, verbose: bool, quiet: bool) -> None:
    if json:
        from reespack.json_form import FORMAT

        write_document(
            {
                "format": FORMAT,
                "dry_run": dry_run,
                "removed": [
                    {"part": one.part, "name": one.name, "path": str(one.path), "used": one.used}
                    for one in pruned.removed
                ],
                "freed": pruned.freed,
                "size": pruned.size,
                "in_use": pruned.in_use,
                "others": pruned.others,
            }
        )
        return
    if quiet:
        return
    names = [f"  {one.part}/{one.name}".rstrip("/") for one in pruned.removed]
    what = "would be removed" if dry_run else "removed"
    count = f"{len(names)} {'entry' if len(names) == 1 else 'entries'}"
    lines = [f"{count} {what}, {size(pruned.freed)} of the disk; {size(pruned.size)} stay"]
    if pruned.in_use:
        lines.append(f"{pruned.in_use} more are in use by builds that are under way")
    if pruned.others:
        lines.append(f"{pruned.others} more belong to other users")
    write_out([*(names if verbose or dry_run else ()), *lines])
