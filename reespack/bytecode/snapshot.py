"""Bundles that stay as they are while other builds extend and prune the cache."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import TYPE_CHECKING

from reespack.errors import PackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reespack.products import Bytecode

__all__ = ["with_own_bundles"]


def with_own_bundles(bytecode: Sequence[Bytecode], folder: Path) -> tuple[Bytecode, ...]:
    """Return bytecode whose bundles are in the new folder `folder`, where nobody replaces them.

    They are links where that may be, else copies. Another build writes a bundle anew when it
    compiles more of a package, and then every offset is another one. Raises PackError.
    """
    own: dict[Path, Path] = {}
    try:
        folder.mkdir()
        for file in dict.fromkeys(one.file for one in bytecode):
            own[file] = folder / f"{len(own)}"
            try:
                os.link(file, own[file])
            except OSError:  # on another disk, or another user's
                shutil.copyfile(file, own[file])
    except OSError as error:
        raise PackError(
            f"bytecode cannot be kept: {error.filename or folder}: {error.strerror or error}"
        ) from error
    return tuple(dataclasses.replace(one, file=own[one.file]) for one in bytecode)
