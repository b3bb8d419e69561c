"""From an archive to an environment, and what can be read or checked without unpacking it.

`unpacking` has the phase itself, `checking` the look at every file. Names are imported when they
are first used: the processes that write the files need few of these modules, and are waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.lazy import on_first_use

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

__getattr__ = on_first_use(
    __name__,
    {
        "checking": ("Damage", "Verification", "verify"),
        "unpacking": ("Unpacked", "read_manifest", "read_members", "unpack"),
    },
)
