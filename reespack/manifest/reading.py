"""A manifest as bytes, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reespack.errors import VerificationError
from reespack.products import Archive, Kernelspec

__all__ = [
    "FORMAT_VERSION",
    "archive_of",
    "kernelspecs_of",
    "manifest_bytes",
    "parse_manifest",
    "schema",
]

FORMAT_VERSION = 1
"""Raised when a field changes its meaning or goes away; fields may come without it."""


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """Return the document as UTF-8: keys sorted, two spaces, a newline at the end."""
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
    # A lone surrogate, from a file name that is not UTF-8, stays as it is read by json: escaped.
    return f"{text}\n".encode(errors="backslashreplace")


def parse_manifest(content: bytes) -> dict[str, Any]:
    """Return the document; raise VerificationError when it is none that is known here.

    A newer format is refused; unknown fields of this one are kept.
    """
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise VerificationError(
            f"the manifest is not JSON: {error}",
            hint="the archive is damaged, or was not made by reespack",
        ) from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise VerificationError(
            f"the manifest has format_version {version!r}, and {FORMAT_VERSION} is known here",
            hint="upgrade reespack" if newer else "the archive was not made by reespack",
        )
    lacking = [name for name in schema()["required"] if name not in manifest]
    if lacking:
        raise VerificationError(
            f"the manifest has no {', '.join(lacking)}", hint="the archive is damaged"
        )
    return dict(manifest)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the manifest."""
    # importlib.resources would only be imported for this, and a build that is cached waits for it
    file = Path(__file__).parents[1] / "data" / "manifest.schema.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))


def archive_of(manifest: dict[str, Any], path: Path) -> Archive:
    """Return the archive that a manifest beside it describes, as it lies at `path`.

    Raises VerificationError for the manifest from within an archive, which cannot know its sum.
    """
    archive = manifest.get("archive")
    if archive is None:
        raise VerificationError(
            "the manifest does not say which archive it belongs to",
            hint="take the .manifest.json beside the archive, not the one within it",
        )
    contents = manifest["contents"]
    return Archive(
        path=path,
        format=archive["format"],
        sha256=archive["sha256"],
        size=archive["size"],
        unpacked_size=contents["size"],
        files=contents["files"],
        tree_digest=contents["tree_digest"],
    )


def kernelspecs_of(manifest: dict[str, Any]) -> tuple[Kernelspec, ...]:
    """Return the kernelspecs that a manifest lists; the first is named after the repository."""
    return tuple(
        Kernelspec(
            name=one["name"],
            display_name=one["display_name"],
            language=one["language"],
            path=one["path"],
        )
        for one in manifest["kernelspecs"]
    )
