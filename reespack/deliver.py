"""Putting the files of a build where the user wants them, whole, with their checksums.

The archive is linked from the cache where that is possible (it is read-only there) and copied
where it is not. Whatever else lies in the folder is left alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from reespack.errors import PackError
from reespack.files import sha256_file, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SUMS", "deliver_file", "prepare_output", "sums_of", "write_sums"]

SUMS = "SHA256SUMS"


def prepare_output(output: Path) -> None:
    """Make the output folder; raise PackError when it cannot be written to."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PackError(
            f"the output folder {output} cannot be made: {error.strerror}",
            hint="choose another with --output",
        ) from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise PackError(
            f"the output folder {output} is not writable", hint="choose another with --output"
        )


def deliver_file(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, by a link if possible, else by a copy."""
    if target.exists() and target.samefile(source):
        return
    # Not `temporary_beside`: that one sets the mode, and a link shares it with the cache's file.
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        temporary.replace(target)
    except OSError as error:
        raise PackError(
            f"{target} cannot be written: {error.strerror}",
            hint="make room, or choose another folder with --output",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # most of the time it is not there any more
            temporary.unlink()


def write_sums(output: Path, known: Mapping[str, str]) -> Path:
    """Write SHA256SUMS for the files in `known` (name below `output` -> sha256).

    Lines of earlier builds stay as long as their file does. Where nothing changes, nothing is
    written. The format is that of coreutils' sha256sum, which `sha256sum -c` reads.
    """
    sums = output / SUMS
    before = sums.read_text(encoding="utf-8") if sums.is_file() else ""
    lines = _parsed(before)
    kept = {name: digest for name, digest in lines.items() if (output / name).is_file()}
    kept.update(known)
    after = "".join(f"{kept[name]}  {name}\n" for name in sorted(kept))
    if after != before:
        write_atomic(sums, after)
    return sums


def sums_of(output: Path, folder: Path) -> dict[str, str]:
    """Return the sums of all files in `folder`, by their names below `output`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(output).as_posix(): sha256_file(path) for path in files}


def _parsed(text: str) -> dict[str, str]:
    """Return name -> sha256 of the lines that are lines of sums."""
    pairs = (line.split("  ", 1) for line in text.splitlines())
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}  # noqa: PLR2004 - a pair
