"""What the files of a build are called: the archive, and what belongs to it beside it.

NAME.tar.zst   NAME.manifest.json   NAME.kernelspec/   NAME.run.sh
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KERNELSPEC", "MANIFEST_BESIDE", "SELF_EXTRACTING", "SUFFIXES", "beside"]

SUFFIXES = (".tar.zst", ".tar.gz", ".squashfs")
SELF_EXTRACTING = ".run.sh"
MANIFEST_BESIDE = ".manifest.json"
KERNELSPEC = ".kernelspec"


def beside(archive: Path, suffix: str) -> Path:
    """Return where a build leaves what belongs to an archive and ends with `suffix`."""
    forms = (*SUFFIXES, SELF_EXTRACTING)
    form = next((form for form in forms if archive.name.endswith(form)), "")
    return archive.with_name(archive.name.removesuffix(form) + suffix)
