"""One file that carries an archive and what unpacks it once and runs commands in it.

It is `scripts/archive.sh` with the archive behind it: POSIX sh, tar and the archive's own Python
are all that a machine needs (and zstd, for tar.zst).
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from reespack.errors import PackError
from reespack.files import temporary_beside
from reespack.kernelspec.launcher import assignments
from reespack.kernelspec.scripts import read_script

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.products import Archive

__all__ = ["write_run_script"]

_ABOUT = """\
# Runs commands in a packed environment, which is in this very file and is unpacked on first use.
#
#     sh {name} COMMAND...    runs COMMAND in the environment
#     sh {name} --unpack      unpacks now, so that the first command starts at once
#     sh {name} --where       prints the environment's folder"""
_WIDTH = 12


def write_run_script(target: Path, *, archive: Archive) -> Path:
    """Write the file; its bytes depend on the archive and on its own name, and nothing else.

    Raises PackError when it cannot be written.
    """
    text = read_script("archive.sh").replace("#ABOUT#", _ABOUT.format(name=target.name))
    # Its own length, in a field of fixed width.
    text = text.replace("#SETTINGS#", _settings(archive, 0))
    text = text.replace(_settings(archive, 0), _settings(archive, len(text.encode())))
    try:
        with (
            temporary_beside(target) as temporary,
            temporary.open("wb") as output,
            archive.path.open("rb") as payload,
        ):
            output.write(text.encode())
            shutil.copyfileobj(payload, output, 1 << 20)
        target.chmod(0o755)
    except OSError as error:
        raise PackError(
            f"{target} cannot be written: {error.strerror}",
            hint="make room, or choose another folder with --output",
        ) from error
    return target


def _settings(archive: Archive, offset: int) -> str:
    values = {
        "archive_path": "",
        "archive_file": archive.path.name,
        "archive_format": archive.format,
        "archive_sha256": archive.sha256,
        "kernel": "",
    }
    return f"{assignments(values)}archive_offset={offset!s:<{_WIDTH}}# bytes before it"
