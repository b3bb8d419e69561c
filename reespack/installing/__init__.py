"""Environments where they run: unpacked once per store, found by digest, kept while in use.

`install` puts an archive's environment into a store, `become` makes this process a program that
runs in it, `remove` and `collect` take environments away that nobody runs from. Many processes may
do all of this at once, on one host or several; see docs/installing.md.
"""

from __future__ import annotations

from reespack.installing.install import Installation, install
from reespack.installing.kernels import (
    InstalledKernel,
    find_kernels,
    install_kernel,
    kernel_folder,
    remove_kernel,
)
from reespack.installing.remove import Collected, Kept, collect, list_store, remove
from reespack.installing.run import become
from reespack.installing.stores import Place, Stores, open_stores, open_to_all

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
    "open_stores",
    "open_to_all",
    "remove",
    "remove_kernel",
]
