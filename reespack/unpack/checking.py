"""Holding an archive against its listing and its manifest, without unpacking it."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from reespack.archive import LISTING, MANIFEST
from reespack.archive.frames import form_of
from reespack.archive.header import END, header, padding
from reespack.archive.listing import parse_listing
from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_bytes, sha256_file
from reespack.unpack.decompressing import blocks
from reespack.unpack.stream import TarStream, read_unlisted
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reespack.archive.listing import Member

__all__ = ["Damage", "Verification", "verify"]


class Damage(Value):
    """Something that is not as it should be; `path` is None for the archive as a whole."""

    path: str | None
    problem: str

    def __str__(self) -> str:
        """Return one line."""
        return self.problem if self.path is None else f"{self.path}: {self.problem}"


class Verification(Value):
    """What was looked at, and what was found: nothing in `damaged` means that all is well."""

    files: int
    size: int
    tree_digest: str
    damaged: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        """Say whether the archive is what its manifest says."""
        return not self.damaged


def verify(
    archive: Path, manifest_beside: Path | None = None, *, threads: int | None = None
) -> Verification:
    """Check the digest of every member, and the tree digest against the manifests.

    `manifest_beside` also knows the archive's own sum. Damage in members is reported, file by
    file; raises VerificationError when the manifest or the listing cannot be read, and UnpackError
    for what is no archive.
    """
    workers = max(1, threads or len(os.sched_getaffinity(0)))
    try:
        manifests = [_manifest(manifest_beside.read_bytes())] if manifest_beside else []
        sums = _sum_damage(archive, manifests)
        if form_of(archive) == "squashfs":
            from reespack.unpack.squashfs import look_through

            within, listing, members, damaged = look_through(archive, workers)
        else:
            within, listing, members, damaged = _look_through(archive, workers)
    except OSError as error:
        raise UnpackError(f"{archive} cannot be read: {error.strerror or error}") from error
    digest = sha256_bytes(listing)
    manifests.append(_manifest(within))
    for manifest in manifests:
        claimed = (manifest.get("contents") or {}).get("tree_digest")
        if claimed != digest:
            damaged.append(Damage(path=LISTING, problem="is not the one that the manifest knows"))
            break
    files = [member for member in members if member.kind != "dir"]
    return Verification(
        files=len(files),
        size=sum(member.size for member in files),
        tree_digest=digest,
        damaged=(*sums, *damaged),
    )


def _manifest(content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise VerificationError(f"the manifest is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise VerificationError("the manifest is not a JSON object")
    return manifest


def _sum_damage(archive: Path, manifests: Iterable[dict[str, Any]]) -> list[Damage]:
    for manifest in manifests:
        claimed = (manifest.get("archive") or {}).get("sha256")
        if claimed and claimed != sha256_file(archive):
            return [Damage(path=None, problem="the archive's sha256 is not the manifest's")]
    return []


def _look_through(
    archive: Path, workers: int
) -> tuple[bytes, bytes, tuple[Member, ...], list[Damage]]:
    damaged: list[Damage] = []
    with ThreadPoolExecutor(workers) as pool:
        frames: list[str] = []
        stream = TarStream(blocks(archive, pool, workers + 1, damaged=frames))
        manifest = read_unlisted(stream, MANIFEST)
        listing = read_unlisted(stream, LISTING)
        members = parse_listing(listing)
        for number, member in enumerate(members):
            try:
                problem = _problem(stream, member)
            except VerificationError as error:
                rest = len(members) - number
                problem = f"is missing, with {rest - 1} after it: {error.message}"
                damaged.append(Damage(path=member.path, problem=problem))
                break
            if problem:
                damaged.append(Damage(path=member.path, problem=problem))
        else:
            try:
                stream.require_end(len(END))
            except VerificationError as error:
                damaged.append(Damage(path=None, problem=error.message))
    if not damaged:  # otherwise the files in the frame are named
        damaged += [Damage(path=None, problem=problem) for problem in frames]
    return manifest, listing, members, damaged


def _problem(stream: TarStream, member: Member) -> str | None:
    """Return what is wrong with the next member, having passed over it."""
    same = stream.passes(header(member, stream.mtime))
    digest = hashlib.sha256()
    left = member.size
    while left:
        piece = stream.some(left)
        digest.update(piece)
        left -= len(piece)
    stream.take(padding(member.size))
    if member.is_file and digest.hexdigest() != member.value:
        return "is damaged: its sha256 is not the listing's"
    return None if same else "is damaged: its header is not what the listing calls for"
