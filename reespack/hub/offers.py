"""The kernels that a catalog's entry offers to a Jupyter server which is not in its environment."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING

from reespack.archive.names import KERNELSPEC, MANIFEST_BESIDE, SELF_EXTRACTING, beside
from reespack.kernelspec.inside import kernel_name
from reespack.manifest import kernelspecs_of
from reespack.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.catalog import Entry

__all__ = ["Offer", "offers_of"]


class Offer(Value):
    """A kernel of an entry's archive.

    `name` is what it is called after the entry's name, "" for the first one. `launcher` is the
    script that unpacks the archive and starts what is in it. `kernel` is the kernelspec in the
    environment; "" when `folder` has a whole one for it. `folder` is where logos lie, and need not
    be there.
    """

    entry: Entry
    name: str
    title: str
    language: str
    launcher: Path
    kernel: str
    folder: Path


def offers_of(entry: Entry, archive: Path) -> tuple[Offer, ...]:
    """Return the kernels of an archive, by what a build has left beside it; none without that."""
    folder = beside(archive, KERNELSPEC)
    extracts_itself = archive.name.endswith(SELF_EXTRACTING)
    launcher = archive if extracts_itself else folder / "launch.sh"
    if not launcher.is_file():
        return ()
    kernels = _kernels(beside(archive, MANIFEST_BESIDE))
    if not kernels and not extracts_itself:  # the folder is enough for the first one
        kernels = (("", "", entry.title, ""),)
    return tuple(
        Offer(
            entry=entry,
            name=name,
            title=entry.title if len(kernels) == 1 else f"{entry.title} ({title})",
            language=language,
            launcher=launcher,
            kernel=kernel if name or extracts_itself else "",
            folder=folder / name if name else folder,  # the logos are the first one's
        )
        for name, kernel, title, language in kernels
    )


def _kernels(manifest: Path) -> tuple[tuple[str, str, str, str], ...]:
    try:
        status = manifest.stat()
        return _read(manifest, (status.st_mtime_ns, status.st_size))
    except (OSError, ValueError, LookupError, TypeError):
        return ()


@functools.lru_cache(maxsize=256)
def _read(manifest: Path, _seen: tuple[int, int]) -> tuple[tuple[str, str, str, str], ...]:
    """Return what each kernel is called here and in the environment, its title, its language.

    An environment has two kernelspecs for each: one that notebooks ask for (`ir`), and a twin that
    is named after the environment (`NAME-ir`, and `NAME` for the first). The twins are offered.
    """
    content = json.loads(manifest.read_bytes())
    found = kernelspecs_of(content)
    own = kernel_name(content["name"])
    listed = [one for one in found if one.name == own or one.name.startswith(f"{own}-")]
    listed = listed or list(found[:1])
    return tuple(
        (
            "" if index == 0 else kernel.name.removeprefix(f"{own}-"),
            kernel.name,
            _part(kernel.display_name, str(content["name"])),
            kernel.language,
        )
        for index, kernel in enumerate(listed)
    )


def _part(display_name: str, environment: str) -> str:
    """Return what a twin's display name says besides the environment's name."""
    found = re.fullmatch(rf"{re.escape(environment)} \((.*)\)", display_name)
    return found[1] if found else display_name
