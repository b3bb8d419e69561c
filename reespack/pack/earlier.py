"""Frames that earlier archives consist of: what has not changed is not compressed again.

A frame's bytes follow from its members and the compressor, and so does its key. So an archive comes
out the same whether its frames were made for it or taken from another.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from reespack.files import sha256_bytes
from reespack.products import PackedFrame

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["EarlierFrames", "frames_document", "read_frames"]

_FORMAT = 1


class EarlierFrames:
    """Frames of archives that are there, by their keys."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Path, PackedFrame]] = {}

    def add(self, archive: Path, frames: Iterable[PackedFrame]) -> None:
        """Know an archive's frames, too; those that are known already stay where they are."""
        for frame in frames:
            self._places.setdefault(frame.key, (archive, frame))

    def find(self, key: str) -> bytes | None:
        """Return a frame as it was made; None if no archive has it (any more). From any thread."""
        place = self._places.get(key)
        if place is None:
            return None
        archive, frame = place
        try:
            with archive.open("rb", buffering=0) as file:
                content = os.pread(file.fileno(), frame.length, frame.offset)
        except OSError:
            return None
        return content if sha256_bytes(content) == frame.sha256 else None


def frames_document(frames: Iterable[PackedFrame]) -> bytes:
    """Return what is kept beside an archive: its frames, as JSON."""
    rows = [[frame.key, frame.offset, frame.length, frame.sha256] for frame in frames]
    return json.dumps({"format": _FORMAT, "frames": rows}).encode()


def read_frames(document: Path) -> tuple[PackedFrame, ...]:
    """Read such a document; empty when it is not there or is none: then all is compressed."""
    try:
        content = json.loads(document.read_bytes())
        if content["format"] != _FORMAT:
            return ()
        return tuple(
            PackedFrame(key=str(key), offset=int(offset), length=int(length), sha256=str(sha256))
            for key, offset, length, sha256 in content["frames"]
        )
    except (OSError, ValueError, TypeError, KeyError):
        return ()
