"""Surroundings that are the same for every build: what runs in them gives the same bytes.

What somebody else's program makes of the user's time zone, language, umask or hash seed, of the
times and modes that a checkout happens to have, or of the order in which a folder lists its files
would stand in the archive.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.files import walk

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UMASK", "even_out", "steady", "with_mapped_paths"]

UMASK = 0o022

_FLAGS = ("CPPFLAGS", "CFLAGS", "CXXFLAGS")


def steady(when: int) -> dict[str, str]:
    """Return the variables for a program that runs in a build; `when` is seconds since the epoch.

    SOURCE_DATE_EPOCH as in https://reproducible-builds.org/specs/source-date-epoch/.
    """
    return {
        "SOURCE_DATE_EPOCH": str(when),
        "TZ": "UTC",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "",
        "PYTHONHASHSEED": "0",
    }


def with_mapped_paths(environ: Mapping[str, str], folders: Mapping[Path, str]) -> dict[str, str]:
    """Return variables that have gcc and clang write other names of `folders` for debuggers.

    CPPFLAGS alone is set anew: CFLAGS that were not there before would replace defaults like -O2.
    Older compilers know no -ffile-prefix-map.
    """
    flags = " ".join(f"-fdebug-prefix-map={folder}={name}" for folder, name in folders.items())
    given = {name: environ[name] for name in _FLAGS if environ.get(name)}
    mapped = {name: f"{value} {flags}" for name, value in given.items()}
    return {**environ, "CPPFLAGS": flags, **mapped}


def even_out(folder: Path, *, when: int) -> None:
    """Give all files in a working copy one time and the modes 0644 or 0755; .git stays as it is.

    What those were says when and by whom it was checked out, not what is in it.
    """
    entries = [(path, entry) for path, entry in walk(folder) if not _is_git(path)]
    # Folders last, and the innermost first: a write to one changes its time.
    for _, entry in reversed(entries):
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            executable = stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IXUSR
            Path(entry.path).chmod(0o755 if executable else 0o644)
        os.utime(entry.path, (when, when), follow_symlinks=False)
    folder.chmod(0o755)
    os.utime(folder, (when, when))


def _is_git(path: str) -> bool:
    return path == ".git" or path.startswith(".git/")
