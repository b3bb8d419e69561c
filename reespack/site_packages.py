"""Where the modules of an environment's Python lie.

The Python of conda-forge, and Anaconda's, brings `lib/python3.1` as well, a link to `python3.10` or
whichever it is: conda up to 4.10 took the one for the other
(https://github.com/conda/conda/issues/11423). What lies there is not there twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["python_folders", "site_packages"]


def python_folders(prefix: Path) -> tuple[Path, ...]:
    """Return the folders `lib/python3.*`, sorted: one, most of the time; none without a Python."""
    found = sorted((prefix / "lib").glob("python3.*"))
    return tuple(path for path in found if path.is_dir() and not path.is_symlink())


def site_packages(prefix: Path) -> tuple[Path, ...]:
    """Return those folders of theirs that distributions are installed in."""
    folders = (path / "site-packages" for path in python_folders(prefix))
    return tuple(path for path in folders if path.is_dir())
