"""The values that a build makes, one for each arrow of the pipeline's second half.

    (Repository -> Detection -> EnvironmentSpec: reespack.model ->) Lock -> Prefix -> Archive

They are as those of reespack.model are: frozen, compared by value. Making such a class takes time,
so each is imported on first use: a build that finds its archive needs the last of them only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.lazy import on_first_use

if TYPE_CHECKING:
    from reespack.products.installed import Bytecode, FileChange, Prefix
    from reespack.products.locked import Lock, LockedConda, LockedPip, PlatformLock
    from reespack.products.packed import Archive, Kernelspec, PackedFrame

__all__ = [
    "Archive",
    "Bytecode",
    "FileChange",
    "Kernelspec",
    "Lock",
    "LockedConda",
    "LockedPip",
    "PackedFrame",
    "PlatformLock",
    "Prefix",
]

__getattr__ = on_first_use(
    __name__,
    {
        "locked": ("Lock", "LockedConda", "LockedPip", "PlatformLock"),
        "installed": ("Bytecode", "FileChange", "Prefix"),
        "packed": ("Archive", "Kernelspec", "PackedFrame"),
    },
)
