"""The manifest: what went into an archive, from where, and how to check it.

A JSON document whose form is published in `reespack/data/manifest.schema.json` and explained in
`docs/manifest.md`. It lies in the archive (`share/reespack/manifest.json`) and, with the archive's
own sum added, beside it. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.lazy import on_first_use

if TYPE_CHECKING:
    from reespack.manifest.document import make_manifest, with_archive, with_differing
    from reespack.manifest.reading import (
        FORMAT_VERSION,
        archive_of,
        kernelspecs_of,
        manifest_bytes,
        parse_manifest,
        schema,
    )
    from reespack.manifest.summary import Section, summarize

__all__ = [
    "FORMAT_VERSION",
    "Section",
    "archive_of",
    "kernelspecs_of",
    "make_manifest",
    "manifest_bytes",
    "parse_manifest",
    "schema",
    "summarize",
    "with_archive",
    "with_differing",
]

__getattr__ = on_first_use(
    __name__,
    {
        "document": ("make_manifest", "with_archive", "with_differing"),
        "reading": (
            "FORMAT_VERSION",
            "archive_of",
            "kernelspecs_of",
            "manifest_bytes",
            "parse_manifest",
            "schema",
        ),
        "summary": ("Section", "summarize"),
    },
)
