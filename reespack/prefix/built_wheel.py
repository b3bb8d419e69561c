"""A wheel that was built here, in a form that depends on what is in it and on nothing else.

Build backends order the files as the file system listed them, and record the modes that the umask
gave. And what a deflate of one zlib makes, another's does not.
"""

from __future__ import annotations

import time
import zipfile
from typing import TYPE_CHECKING

from reespack.errors import InstallError
from reespack.files import temporary_beside

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["normalize_wheel"]

_EXECUTABLE = 0o100
_REGULAR = 0o100000
_EARLIEST = 315532800
"""1980-01-01T00:00:00Z, before which zip files know no time."""


def normalize_wheel(wheel: Path, *, when: int) -> None:
    """Rewrite a wheel: sorted, its metadata last (as PEP 427 recommends), one time, two modes.

    Lines of RECORD are sorted, too. `when` is in seconds since the epoch. Raises InstallError for
    what is no wheel.
    """
    moment = time.gmtime(max(when, _EARLIEST))[:6]
    try:
        with (
            temporary_beside(wheel) as temporary,
            zipfile.ZipFile(wheel) as old,
            zipfile.ZipFile(temporary, "w") as new,
        ):
            infos = [info for info in old.infolist() if not info.is_dir()]
            for info in sorted(infos, key=lambda info: _place(info.filename)):
                content = old.read(info)
                if info.filename.endswith(".dist-info/RECORD"):
                    content = b"".join(line + b"\n" for line in sorted(content.splitlines()))
                entry = zipfile.ZipInfo(info.filename, moment)
                entry.create_system = 3  # Unix, whose modes follow
                executable = info.external_attr >> 16 & _EXECUTABLE
                entry.external_attr = (_REGULAR | (0o755 if executable else 0o644)) << 16
                # Stored: it is installed at once, and no zlib has a part in its digest.
                new.writestr(entry, content)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InstallError(f"the wheel {wheel.name} cannot be read: {error}") from error


def _place(name: str) -> tuple[bool, bool, str]:
    folder, _, file = name.rpartition("/")
    metadata = folder.split("/")[0].endswith(".dist-info")
    return metadata, metadata and file == "RECORD", name
