"""From an archive to an environment, and what can be read or checked without unpacking it.

`unpacking` has the phase itself, `checking` the look at every file. Names are imported when they
are first used: the processes that write the files need few of these modules, and are waited for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reespack.unpack.checking import Damage, Verification, verify
    from reespack.unpack.unpacking import Unpacked, read_manifest, read_members, unpack

__all__ = [
    "Damage",
    "Unpacked",
    "Verification",
    "read_manifest",
    "read_members",
    "unpack",
    "verify",
]

_IN_CHECKING = ("Damage", "Verification", "verify")


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "checking" if name in _IN_CHECKING else "unpacking"
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
