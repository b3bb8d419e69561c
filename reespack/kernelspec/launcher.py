"""The kernelspec outside of an archive: it unpacks the archive on first use and starts from there.

Its folder is made for `jupyter kernelspec install --user FOLDER`, which copies it, so that it knows
the archive by an absolute path. The launcher is POSIX sh (`scripts/archive.sh`): the machine that
it runs on need not have reespack.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from stat import S_IMODE
from typing import TYPE_CHECKING, Any

from reespack.errors import PackError
from reespack.files import replace_folder, temporary_folder
from reespack.kernelspec.scripts import read_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reespack.products import Archive, Kernelspec

__all__ = ["assignments", "write_launcher_kernelspec"]

_LAUNCHER = "launch.sh"
_ABOUT = """\
# Starts a kernel from a packed environment, which is unpacked on first use and stays.
#
#     sh launch.sh --unpack      unpacks now, so that the first kernel starts at once
#     sh launch.sh --where       prints the environment's folder
#     sh launch.sh COMMAND...    what jupyter_client calls; @PREFIX@ stands for the environment
#     sh launch.sh --run COMMAND...    any other command in the environment
#
# The archive is looked for where it was built, as a file or link `archive` in this folder, and in
# the folders of $REESPACK_ARCHIVES (colon-separated)."""
_SETTINGS = """\
[ -r "$here/archive.sh" ] || die "$here/archive.sh is missing: install the kernelspec again"
. "$here/archive.sh\""""


def write_launcher_kernelspec(  # noqa: PLR0913 - what a kernelspec says
    target: Path,
    kernelspec: Kernelspec,
    *,
    archive: Archive,
    source: Path,
    location: Path | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Path:
    """Make the folder `target`: a kernelspec that starts `kernelspec` out of `archive`.

    `source` is the folder whose kernel.json and logos are taken: the kernelspec's own in a prefix
    (`prefix.path / kernelspec.path`), or one that this function made before. `location` says where
    the archive will lie when that is not `archive.path`. `defaults` are variables for the launcher
    where its caller does not set them (`REESPACK_STORE_ORDER`). The folder appears whole, in the
    place of an earlier one; one that is as it should be is left alone. Raises PackError when it
    cannot be written.
    """
    archive = replace(archive, path=(location or archive.path).absolute())
    try:
        files = _files(source, kernelspec, archive, defaults or {})
        if not _holds(target, files):
            _put(target, files)
    except OSError as error:
        raise PackError(f"the kernelspec {target} cannot be written: {error.strerror}") from error
    return target


def _files(
    source: Path, kernelspec: Kernelspec, archive: Archive, defaults: Mapping[str, str]
) -> dict[str, bytes]:
    """Return the content of each file of the folder, by its path in it."""
    files = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and path.name not in {"kernel.json", _LAUNCHER, "archive.sh"}
    }
    content: dict[str, Any] = json.loads((source / "kernel.json").read_bytes())
    mine = content.setdefault("metadata", {}).setdefault("reespack", {})
    mine["archive"] = {
        "path": str(archive.path),
        "format": archive.format,
        "sha256": archive.sha256,
        "size": archive.size,
    }
    content["display_name"] = kernelspec.display_name
    text = json.dumps(content, indent=1, ensure_ascii=False)
    launch = read_script("archive.sh").replace("#ABOUT#", _ABOUT).replace("#SETTINGS#", _SETTINGS)
    settings = {
        "archive_path": str(archive.path),
        "archive_file": archive.path.name,
        "archive_format": archive.format,
        "archive_sha256": archive.sha256,
        "archive_offset": "",
        "kernel": kernelspec.name,
    }
    lines = assignments(settings)
    lines += "".join(
        f'[ "${{{name}-}}" ] || {name}={shlex.quote(value)}\n'
        for name, value in sorted(defaults.items())
    )
    files["kernel.json"] = f"{text}\n".encode()
    files[_LAUNCHER] = launch.encode()
    files["archive.sh"] = f"# What launch.sh starts. Made by reespack.\n{lines}".encode()
    return files


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Say whether a folder has these files, each readable by others, and no more."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    try:
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
        there = {name: path for name, path in found.items() if not path.is_dir()}
        return there.keys() == files.keys() and all(
            S_IMODE(path.lstat().st_mode) == _mode(name) and path.read_bytes() == files[name]
            for name, path in there.items()
        )
    except FileNotFoundError:  # another build puts its own there just now
        return False


def _put(target: Path, files: Mapping[str, bytes]) -> None:
    with temporary_folder(target.parent, f".{target.name}.") as temporary:
        for name, content in files.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(_mode(name))
        for folder in (temporary, *filter(Path.is_dir, temporary.rglob("*"))):
            folder.chmod(0o755)
        replace_folder(temporary, target)


def _mode(name: str) -> int:
    return 0o755 if name == _LAUNCHER else 0o644


def assignments(values: Mapping[str, str]) -> str:
    """Return the lines of a shell script that set variables."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
