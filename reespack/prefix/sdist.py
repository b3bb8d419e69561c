"""Sdists unpacked to a place that is known: uv's own has another name each time."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

from reespack.errors import InstallError

__all__ = ["unpack_sdist"]


def unpack_sdist(file: Path, folder: Path) -> Path:
    """Unpack a .tar.* or .zip sdist into the new folder `folder`; return the project's folder.

    Nothing is written outside of `folder`. Raises InstallError for what is no sdist.
    """
    folder.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(file):
            _unzip(file, folder)
        else:
            with tarfile.open(file) as archive:
                _untar(archive, folder)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InstallError(f"{file.name} cannot be unpacked: {error}") from error
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        return inside[0]
    return folder


def _unzip(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            target = _target(folder, info.filename)
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            target.chmod(0o755 if info.external_attr >> 16 & stat.S_IXUSR else 0o644)


def _untar(archive: tarfile.TarFile, folder: Path) -> None:
    """Write files, folders and links that stay inside; what else a tar may hold has no use here.

    By hand: the interpreter may be older than tarfile's filters.
    """
    for member in archive:
        target = _target(folder, member.name)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        elif member.isfile() or member.islnk():
            source = archive.extractfile(member)
            if source is None:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            target.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)
        elif member.issym():
            _target(folder, os.path.join(os.path.dirname(member.name), member.linkname))  # noqa: PTH118, PTH120 - not Path's reading of `..`
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(member.linkname)


def _target(folder: Path, name: str) -> Path:
    """Return where a member goes; raise InstallError when that is elsewhere, or through a link."""
    target = folder / name
    plain = Path(os.path.normpath(target))
    parents = [one for one in plain.parents if one.is_relative_to(folder) and one != folder]
    if not plain.is_relative_to(folder) or any(one.is_symlink() for one in (plain, *parents)):
        raise InstallError(f"an sdist has a member that leads out of it: {name}")
    return plain
