"""`reespack list`, `reespack uninstall` and `reespack gc`: what is in the store, and less of it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Json,
    Quiet,
    Store,
    Traceback,
    Verbose,
)
from reespack.cli.terminal import columns, size, style_of, table
from reespack.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.installing import InstalledKernel, Kept

__all__ = ["collect", "list_installed", "uninstall"]

Prefix = Annotated[
    Path | None,
    typer.Option(metavar="P", help="Look for kernels in P, too."),
]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def list_installed(
    *,
    store: Store = None,
    prefix: Prefix = None,
    json: Json = False,
    _traceback: Traceback = False,
) -> None:
    """Show the environments of the store, who runs from them, and the kernels made from them."""
    from reespack.installing import list_store

    place = _store(store)
    kernels = _kernels(prefix)
    found = list_store(place)
    if json:
        write_document(
            {
                "format": 1,
                "store": str(place),
                "environments": [_document(one, kernels) for one in found],
                "kernels": [
                    {"name": one.name, "kernelspec": str(one.path), "digest": one.digest}
                    for one in kernels
                ],
            }
        )
        return
    rows = [
        (
            one.name,
            one.place.path.name,
            size(one.size),
            _ago(one.idle),
            str(len(one.users) or "-"),
            ", ".join(kernel.name for kernel in _kernels_of(one, kernels)) or "-",
        )
        for one in found
    ]
    head = ("NAME", "DIGEST", "SIZE", "USED", "IN USE", "KERNELS")
    if rows:
        write_out(table(rows, style=style_of(sys.stdout), header=head, width=columns(sys.stdout)))


def uninstall(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A kernel's name, or an environment's digest.")
    ],
    *,
    store: Store = None,
    prefix: Prefix = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Remove a kernel that `install` made, and its environment when no other kernel needs it."""
    from reespack.installing import list_store, remove, remove_kernel

    progress = make_console(verbose=verbose, quiet=quiet)
    kernels = _kernels(prefix)
    going = [one for one in kernels if one.name == name]
    found = list_store(_store(store))
    digests = {one.digest for one in going}
    environments = [
        one
        for one in found
        if one.place.digest in digests or (len(name) >= 8 and one.place.digest.startswith(name))  # noqa: PLR2004
    ]
    if not going and not environments:
        known = sorted({one.name for one in kernels})
        raise UsageError(
            f"nothing is installed as {name}",
            hint=f"there is {', '.join(known)}" if known else "see `reespack list`",
        )
    for kernel in going:
        remove_kernel(kernel)
        progress.step(f"removed {kernel.path}")
    left = [one for one in kernels if one not in going]
    for one in environments:
        needed = _kernels_of(one, left)
        if needed:
            progress.step(f"{one.place.path} stays: the kernel {needed[0].name} needs it")
        elif one.users and going:
            progress.step(f"{one.place.path} stays until nothing runs from it: see `reespack gc`")
        else:
            remove(one)
            progress.step(f"removed {one.place.path}")


def collect(  # noqa: PLR0913 - each is an option
    *,
    keep: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Keep the N environments that were used last."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="30d", help="Remove only what was not used for so long (s m h d w)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    store: Store = None,
    prefix: Prefix = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Remove environments that nothing runs from, and what killed processes left behind.

    Those of your kernels stay, unless --keep or --older-than says otherwise and the archive is
    still there to unpack them from.
    """
    from reespack.installing import collect as collect_store
    from reespack.installing import list_store

    place = _store(store)
    age = None if older_than is None else _seconds(older_than)
    kernels = _kernels(prefix)
    newest = {one.place.path for one in list_store(place)[: keep or 0]}

    def wanted(one: Kept) -> bool:
        if one.place.path in newest or (age is not None and one.idle < age):
            return True
        needed = _kernels_of(one, kernels)
        free = keep is not None or age is not None
        return bool(needed) and not (free and all(kernel.archive.is_file() for kernel in needed))

    found = collect_store(
        place,
        wanted=wanted,
        dry_run=dry_run,
        progress=make_console(verbose=verbose, quiet=quiet),
    )
    if json:
        write_document(
            {
                "format": 1,
                "store": str(place),
                "dry_run": dry_run,
                "removed": [_document(one, kernels) for one in found.removed],
                "leftovers": [str(path) for path in found.leftovers],
                "busy": list(found.busy),
                "size": found.size,
            }
        )
    elif not quiet:
        verb = "would remove" if dry_run else "removed"
        lines = [f"{verb} {one.place.path} ({one.name}, {size(one.size)})" for one in found.removed]
        lines += [f"{verb} {path} (left behind)" for path in found.leftovers]
        lines += [f"{digits} is being worked on" for digits in found.busy]
        write_out(lines or ["nothing to remove"])


def _store(store: Path | None) -> Path:
    from reespack.installing import open_stores
    from reespack.store_settings import load_store_settings

    return open_stores(load_store_settings(store=store)).own


def _kernels(prefix: Path | None) -> tuple[InstalledKernel, ...]:
    """Return the user's kernels, this Python's, and those of `prefix`."""
    from reespack.installing import find_kernels, kernel_folder

    tops = [None, Path(sys.prefix), *([prefix] if prefix else [])]
    folders = [kernel_folder(os.environ, prefix=top) for top in tops]
    return find_kernels(list(dict.fromkeys(folders)))


def _kernels_of(kept: Kept, kernels: Sequence[InstalledKernel]) -> list[InstalledKernel]:
    """Return the kernels that start from an environment: those unpack their archive themselves."""
    if kept.place.mounted:
        return []
    return [one for one in kernels if one.digest == kept.place.digest]


def _document(kept: Kept, kernels: Sequence[InstalledKernel]) -> dict[str, object]:
    return {
        "name": kept.name,
        "path": str(kept.place.path),
        "mounted": kept.place.mounted,
        "digest": kept.place.digest,
        "archive": str(kept.archive),
        "size": kept.size,
        "idle": round(kept.idle, 3),
        "users": [{"host": owner.host, "pid": owner.pid} for owner in kept.users],
        "kernels": [one.name for one in _kernels_of(kept, kernels)],
    }


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    if not found:
        raise UsageError(f"--older-than {text}: is no span of time", hint="for example 30d or 12h")
    return float(found[1]) * _UNITS[found[2]]


def _ago(seconds: float) -> str:
    """Return a span of time in its largest unit."""
    for unit in ("w", "d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{int(seconds // _UNITS[unit])}{unit} ago"
    return "now"
