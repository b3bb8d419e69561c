"""What is packed: an archive, and the kernelspecs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reespack.value import Value

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Archive", "Kernelspec", "PackedFrame"]


class Kernelspec(Value):
    """A kernelspec in an environment: `name` is its folder's, `path` that folder in the prefix."""

    name: str
    display_name: str
    language: str
    path: str


class PackedFrame(Value):
    """A piece of an archive that another one may hold as well.

    `key` is a digest of everything that decides its bytes: members and compressor. They lie at
    `offset` in the archive, are `length` bytes, and have the sum `sha256`.
    """

    key: str
    offset: int
    length: int
    sha256: str


class Archive(Value):
    """A packed environment.

    `size` is the archive's, `unpacked_size` and `files` those of what is in it, in bytes and
    members that are not folders. `tree_digest` is a digest over path, mode and content of all.
    `frames` are those that a later archive can take over; empty where that is not known.
    """

    path: Path
    format: Literal["tar.zst", "tar.gz", "squashfs"]
    sha256: str
    size: int
    unpacked_size: int
    files: int
    tree_digest: str
    frames: tuple[PackedFrame, ...] = ()
