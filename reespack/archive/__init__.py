"""The archive's format, as both those who write it and those who read it need it.

`docs/archive.md` describes it; the modules here each know one part: `header` a member's header,
`listing` the list of all members, `frames` the compressed pieces and their index, `conda_unpack`
the mending of prefixes, `names` what the files are called that a build leaves.
"""

from __future__ import annotations

__all__ = ["FRAME_SIZE", "LISTING", "MANIFEST"]

MANIFEST = "share/reespack/manifest.json"
LISTING = "share/reespack/files.tsv"
FRAME_SIZE = 8 << 20
"""Bytes of tar in a frame: it ends with the first member that reaches this many."""
