"""Another machine's ways, for a build that is to show whether they matter."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.files import current_umask, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["in_reverse", "other_surroundings"]

_GROUP_WRITE = 0o020
_PRIVATE = 0o077
_VARIABLES = {
    "TZ": "Pacific/Kiritimati",
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONHASHSEED": "4711",
}


@contextlib.contextmanager
def other_surroundings() -> Iterator[None]:
    """Give this process and its children another time zone, language, hash seed and umask.

    The umask stays where it lets a group write: what gets into a shared cache must be shared.
    """
    before = {name: os.environ.get(name) for name in _VARIABLES}
    mask = current_umask()
    os.environ.update(_VARIABLES)
    time.tzset()
    if mask & _GROUP_WRITE:
        os.umask(_PRIVATE)
    try:
        yield
    finally:
        os.umask(mask)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        time.tzset()


def in_reverse(folder: Path) -> None:
    """Enter what is in a folder, and in those below it, into them anew, the last name first.

    Where folders are listed in the order of their entries (tmpfs, XFS), that order turns round.
    """
    for place in [folder, *(Path(e.path) for _, e in walk(folder) if _is_folder(e))]:
        for name in sorted((entry.name for entry in os.scandir(place)), reverse=True):
            temporary = place / f".{name[:100]}.moved"
            (place / name).rename(temporary)
            temporary.rename(place / name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and entry.name != ".git"
