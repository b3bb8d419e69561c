"""Environments where they run: unpacked once per store, found by digest, kept while in use.

`install` puts an archive's environment into a store, `become` makes this process a program that
runs in it, `remove` and `collect` take environments away that nobody runs from. Many processes may
do all of this at once, on one host or several; see docs/installing.md.
"""

from __future__ import annotations

from reespack.installing.install import Installation, install
from reespack.installing.run import become
from reespack.installing.stores import Place, Stores, open_stores

__all__ = ["Installation", "Place", "Stores", "become", "install", "open_stores"]
