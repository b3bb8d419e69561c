"""The kernelspec outside of an archive: it unpacks the archive on first use and starts from there.

Its folder is made for `jupyter kernelspec install --user FOLDER`, which copies it, so that it knows
the archive by an absolute path. The launcher is POSIX sh (`scripts/archive.sh`): the machine that
it runs on need not have reespack.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.errors import PackError
from reespack.files import remove_tree
from reespack.kernelspec.scripts import read_script, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reespack.products import Archive, Kernelspec

__all__ = ["assignments", "write_launcher_kernelspec"]

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
    place of an earlier one. Raises PackError when it cannot be written.
    """
    archive = replace(archive, path=(location or archive.path).absolute())
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _fill(temporary, source, kernelspec, archive, defaults or {})
            temporary.chmod(0o755)
            remove_tree(target)
            temporary.replace(target)
        finally:
            remove_tree(temporary)
    except OSError as error:
        raise PackError(f"the kernelspec {target} cannot be written: {error.strerror}") from error
    return target


def _fill(
    folder: Path,
    source: Path,
    kernelspec: Kernelspec,
    archive: Archive,
    defaults: Mapping[str, str],
) -> None:
    ignore = shutil.ignore_patterns("kernel.json", "launch.sh", "archive.sh")
    shutil.copytree(
        source, folder, ignore=ignore, dirs_exist_ok=True, copy_function=shutil.copyfile
    )
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
    replace_file(folder / "kernel.json", f"{text}\n")
    launch = read_script("archive.sh").replace("#ABOUT#", _ABOUT).replace("#SETTINGS#", _SETTINGS)
    replace_file(folder / "launch.sh", launch, executable=True)
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
    replace_file(folder / "archive.sh", f"# What launch.sh starts. Made by reespack.\n{lines}")


def assignments(values: Mapping[str, str]) -> str:
    """Return the lines of a shell script that set variables."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
