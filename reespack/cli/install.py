"""`reespack install` and `reespack stage`: environments into a store, before they are needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Json,
    Quiet,
    Store,
    Threads,
    Traceback,
    Verbose,
)
from reespack.errors import UsageError

__all__ = ["install", "stage"]


def install(  # noqa: PLR0913 - each is an option
    archive: Archive,
    *,
    user: Annotated[
        bool, typer.Option("--user", help="Put the kernel where your own are. [the default]")
    ] = False,
    prefix: Annotated[
        Path | None,
        typer.Option(metavar="P", help="Put the kernel into P/share/jupyter/kernels."),
    ] = None,
    sys_prefix: Annotated[
        bool, typer.Option("--sys-prefix", help="Put the kernel where this Python's are.")
    ] = False,
    name: Annotated[str | None, typer.Option(metavar="N", help="The kernel's name.")] = None,
    store: Store = None,
    threads: Threads = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Unpack an archive into the store, once, and make its kernel known to Jupyter.

    With --quiet, stdout is the environment's path and nothing else.
    """
    from reespack.installing import install as install_archive
    from reespack.installing import install_kernel, kernel_folder, open_stores
    from reespack.store_settings import load_store_settings

    if user + sys_prefix + (prefix is not None) > 1:
        raise UsageError("--user, --prefix and --sys-prefix contradict each other")
    settings = load_store_settings(store=store)
    installation = install_archive(
        archive,
        stores=open_stores(settings),
        threads=threads,
        progress=make_console(verbose=verbose, quiet=quiet),
    )
    try:
        top = Path(sys.prefix) if sys_prefix else prefix
        folder = kernel_folder(os.environ, prefix=top)
        kernel = install_kernel(installation, folder, name=name, settings=settings)
    finally:
        installation.lease.release()
    if json:
        write_document(
            {
                "format": 1,
                "environment": str(installation.path),
                "digest": installation.digest,
                "fresh": installation.fresh,
                "kernel": kernel.name,
                "kernelspec": str(kernel.path),
            }
        )
    elif quiet:
        write_out([str(installation.path)])
    else:
        write_out([f"environment  {installation.path}", f"kernel       {kernel.path}"])


def stage(  # noqa: PLR0913 - each is an option
    archive: Archive,
    *,
    store: Store = None,
    for_all: Annotated[
        bool, typer.Option("--for-all", help="Let others use the store: a shared store.")
    ] = False,
    threads: Threads = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _traceback: Traceback = False,
) -> None:
    """Unpack an archive into a store ahead of time, so that the first start is like any other.

    With --quiet, stdout is the environment's path and nothing else.
    """
    from reespack.installing import install as install_archive
    from reespack.installing import open_stores, open_to_all
    from reespack.store_settings import load_store_settings

    settings = load_store_settings(store=store)
    if for_all:
        if settings.store is None:
            raise UsageError("--for-all needs a store", hint="name it with --store DIR")
        open_to_all(settings.store)
    installation = install_archive(
        archive,
        stores=open_stores(settings),
        threads=threads,
        progress=make_console(verbose=verbose, quiet=quiet),
    )
    installation.lease.release()
    if json:
        write_document(
            {
                "format": 1,
                "environment": str(installation.path),
                "digest": installation.digest,
                "fresh": installation.fresh,
            }
        )
    else:
        write_out([str(installation.path)])
