"""The archive's format, as both those who write it and those who read it need it.

`docs/archive.md` describes it; the modules here each know one part: `header` a member's header,
`listing` the list of all members, `frames` the compressed pieces and their index, `conda_unpack`
the mending of prefixes, `names` what the files are called that a build leaves.
"""

from __future__ import annotations

__all__ = ["AT_ONCE", "FRAME_SIZE", "LISTING", "MANIFEST"]

MANIFEST = "share/reespack/manifest.json"
LISTING = "share/reespack/files.tsv"
FRAME_SIZE = 8 << 20
"""Bytes of tar in a frame: it ends with the first member that reaches this many."""

AT_ONCE = 1 << 19
"""Bytes that are written to a file at once. For more, Linux puts them into pages of up to 2 MiB; a
virtual machine may have given back memory in such pieces, and each must then be asked for again."""
