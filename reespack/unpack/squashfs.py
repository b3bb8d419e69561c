"""Squashfs images: unpacked by unsquashfs, then checked and mended like any other archive."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import PLACEHOLDERS
from reespack.archive.listing import parse_listing, read_lines
from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_file, temporary_folder, walk
from reespack.process import run
from reespack.unpack.checking import Damage
from reespack.unpack.extract import Rest, read_mending

if TYPE_CHECKING:
    from reespack.archive.listing import Member

__all__ = ["extract_squashfs", "look_through", "read_file"]


def extract_squashfs(archive: Path, root: Path, prefix: Path, threads: int) -> tuple[bytes, Rest]:
    """Unpack an image to `root` and mend it for `prefix`; return its manifest, and what there is.

    What is unpacked has the time at which it is unpacked, as `NewFiles` says.
    """
    manifest, listing, members, damaged = _extracted(archive, root, threads)
    if damaged:
        raise VerificationError(
            str(damaged[0]),
            hint="fetch or build the archive again",
            detail="\n".join(map(str, damaged)),
        )
    mending = read_mending((root / PLACEHOLDERS).read_bytes(), os.fsencode(prefix))
    by_path = {member.path: member for member in members}
    for path in mending.records:
        file = root / path
        file.write_bytes(mending.mended(by_path[path], file.read_bytes()))
    for path in (MANIFEST, LISTING, *by_path):
        os.utime(root / path, follow_symlinks=False)
    rest = Rest()
    rest.add(read_lines(listing))
    return manifest, rest


def look_through(
    archive: Path, threads: int
) -> tuple[bytes, bytes, tuple[Member, ...], list[Damage]]:
    """Return manifest, listing, members and what is wrong with them; needs room to unpack."""
    with temporary_folder(Path(tempfile.gettempdir())) as folder:
        return _extracted(archive, folder / "environment", threads)


def read_file(archive: Path, path: str) -> bytes:
    """Return one file of an image."""
    completed = run([_program(), "-cat", archive, path], capture_stdout=True)
    if not completed.ok:
        raise VerificationError(
            f"{path} cannot be read from {archive}", detail="\n".join(completed.tail)
        )
    return completed.stdout.encode()


def _extracted(
    archive: Path, root: Path, threads: int
) -> tuple[bytes, bytes, tuple[Member, ...], list[Damage]]:
    quiet = ["-no-progress", "-no-xattrs", "-quiet", "-processors", str(threads)]
    completed = run([_program(), *quiet, "-force", "-dest", root, archive])
    listing_file = root / LISTING
    if not completed.ok or not listing_file.is_file():
        raise VerificationError(
            f"unsquashfs {completed.ending}" if not completed.ok else f"there is no {LISTING}",
            detail="\n".join(completed.tail),
        )
    listing = listing_file.read_bytes()
    members = parse_listing(listing)
    return (root / MANIFEST).read_bytes(), listing, members, _compared(root, members)


def _program() -> str:
    program = shutil.which("unsquashfs")
    if program is None:
        raise UnpackError("unsquashfs is not on PATH", hint="install squashfs-tools")
    return program


def _compared(root: Path, members: tuple[Member, ...]) -> list[Damage]:
    """Return how the files on disk differ from the listing."""
    listed = {member.path: member for member in members}
    damaged = []
    for path, entry in walk(root):
        if path in {MANIFEST, LISTING}:
            continue
        member = listed.pop(path, None)
        if member is None:
            damaged.append(Damage(path=path, problem="is not in the listing"))
        elif not _same(member, entry):
            damaged.append(Damage(path=path, problem="is damaged: it is not what the listing says"))
    damaged += [Damage(path=path, problem="is missing") for path in listed]
    return damaged


def _same(member: Member, entry: os.DirEntry[str]) -> bool:
    mode = entry.stat(follow_symlinks=False).st_mode
    if member.is_link:
        return stat.S_ISLNK(mode) and os.readlink(entry.path) == member.value  # noqa: PTH115
    if member.kind == "dir":
        return stat.S_ISDIR(mode)
    right = stat.S_ISREG(mode) and stat.S_IMODE(mode) == int(member.kind, 8)
    return right and sha256_file(Path(entry.path)) == member.value
