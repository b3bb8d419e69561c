"""Environments where they run: unpacked once per store, found by digest, kept while in use.

`install` puts an archive's environment into a store, `open_environment` does so or mounts it,
`become` makes this process a program that runs in it, `remove` and `collect` take environments away
that nobody runs from. Many processes may do all of this at once, on one host or several; see
docs/installing.md.

Names are imported when they are first used: a command that many start at once pays for no more
than it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.lazy import on_first_use

if TYPE_CHECKING:
    from reespack.installing.kernels import (
        InstalledKernel,
        find_kernels,
        install_kernel,
        kernel_folder,
        remove_kernel,
    )
    from reespack.installing.opening import open_environment
    from reespack.installing.removal import Collected, Kept, collect, list_store, remove
    from reespack.installing.run import become
    from reespack.installing.stores import Place, Stores, open_stores, open_to_all
    from reespack.installing.unpacking import Installation, install

__all__ = [
    "Collected",
    "Installation",
    "InstalledKernel",
    "Kept",
    "Place",
    "Stores",
    "become",
    "collect",
    "find_kernels",
    "install",
    "install_kernel",
    "kernel_folder",
    "list_store",
    "open_environment",
    "open_stores",
    "open_to_all",
    "remove",
    "remove_kernel",
]

__getattr__ = on_first_use(
    __name__,
    {
        "kernels": (
            "InstalledKernel",
            "find_kernels",
            "install_kernel",
            "kernel_folder",
            "remove_kernel",
        ),
        "opening": ("open_environment",),
        "removal": ("Collected", "Kept", "collect", "list_store", "remove"),
        "run": ("become",),
        "stores": ("Place", "Stores", "open_stores", "open_to_all"),
        "unpacking": ("Installation", "install"),
    },
)
