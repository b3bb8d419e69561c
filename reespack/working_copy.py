"""Copies of the repository, so that neither builds nor hooks write into the user's own tree."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.archive.names import MANIFEST_BESIDE, SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection

    from reespack.model import Repository

__all__ = ["copy_repository", "folder_in_copy"]

_FICLONE = 0x40049409
"""linux/fs.h: share the blocks of another file until one of them is written to."""


def copy_repository(
    repository: Repository, destination: Path, *, without: Collection[Path] = ()
) -> Path:
    """Copy the whole checkout (.git too) to `destination`; return the repository's root there.

    Links stay links; sockets and the like stay behind, and so do archives that earlier builds put
    into the tree, and the folders in `without`: a build folder may lie in the tree that it copies.
    Raises OSError.
    """
    apart = {str(path.resolve()) for path in without}

    def not_copied(folder: str, names: list[str]) -> set[str]:
        return _not_copied(folder, names) | {
            name
            for name in names
            if os.path.join(folder, name) in apart  # noqa: PTH118 - as given
        }

    shutil.copytree(
        repository.top,
        destination,
        symlinks=True,
        ignore=not_copied,
        copy_function=_copy_file,
    )
    return folder_in_copy(repository, destination)


def folder_in_copy(repository: Repository, copy: Path) -> Path:
    """Return where the repository's root lies in a copy of its checkout."""
    return copy / repository.root.relative_to(repository.top)


def _not_copied(folder: str, names: Collection[str]) -> set[str]:
    builds = [
        name.removesuffix(MANIFEST_BESIDE) for name in names if name.endswith(MANIFEST_BESIDE)
    ]
    skipped = {build + suffix for build in builds for suffix in SUFFIXES}
    for name in names:
        mode = Path(folder, name).lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            skipped.add(name)
    return skipped


def _copy_file(source: str, target: str) -> str:
    """Copy one file with its mode and times; share its blocks where the file system can."""
    if Path(source).is_symlink():
        return shutil.copy2(source, target, follow_symlinks=False)
    with Path(source).open("rb") as old, Path(target).open("wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            shutil.copyfileobj(old, new, 1 << 20)
    shutil.copystat(source, target)
    # A read-only file of the user's is still ours to change here.
    Path(target).chmod(stat.S_IMODE(Path(target).stat().st_mode) | stat.S_IRUSR | stat.S_IWUSR)
    return target
