"""The archive as a squashfs image: one file that can be mounted, or unpacked with unsquashfs."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING

from reespack.errors import PackError
from reespack.files import sha256_file, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reespack.pack import Contents

__all__ = ["make_squashfs"]


def make_squashfs(
    target: Path, write: Callable[[IO[bytes]], Contents], *, mtime: int, threads: int
) -> tuple[str, int, Contents]:
    """Have `write` write a tar file into mksquashfs; return the image's sha256, size, contents.

    Raises PackError when mksquashfs is missing, older than 4.5 (which reads no tar) or fails.
    """
    program = shutil.which("mksquashfs")
    if program is None:
        raise PackError(
            "mksquashfs is not on PATH, and --format squashfs needs it",
            hint="install squashfs-tools (4.5 or newer), or pack as tar.zst",
        )
    with temporary_folder(target.parent) as folder, tempfile.TemporaryFile("w+") as log:
        image = folder / target.name
        fixed = ["-all-root", "-mkfs-time", str(mtime), "-all-time", str(mtime), "-no-xattrs"]
        quiet = ["-noappend", "-no-progress", "-quiet", "-processors", str(threads)]
        process = subprocess.Popen(
            [program, "-", image, "-tar", "-comp", "zstd", "-b", "256K", *fixed, *quiet],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            contents = _fed(process, write)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        said = log.read().strip()
        if contents is None or process.returncode or not image.exists():
            raise PackError(
                f"mksquashfs failed with exit code {process.returncode}",
                hint="it must be 4.5 or newer; `mksquashfs -version` tells",
                detail=said or None,
            )
        sha256, size = sha256_file(image), image.stat().st_size
        image.chmod(0o644)
        image.replace(target)
    return sha256, size, contents


def _fed(
    process: subprocess.Popen[bytes], write: Callable[[IO[bytes]], Contents]
) -> Contents | None:
    """Feed the program and wait for its end; return None when it did not take all."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        with process.stdin as stdin:
            contents = write(stdin)
    except BrokenPipeError:
        process.wait()
        return None
    process.wait()
    return contents
