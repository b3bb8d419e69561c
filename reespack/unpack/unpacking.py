"""From an archive to an environment: checked while it streams, mended before it is written."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import STATE
from reespack.archive.frames import form_of
from reespack.errors import UnpackError
from reespack.files import current_umask, temporary_folder
from reespack.progress import QUIET
from reespack.unpack.whole import required_sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.archive.listing import Member
    from reespack.progress import Progress
    from reespack.unpack.extract import Rest

__all__ = ["Unpacked", "read_manifest", "read_members", "unpack"]


class Unpacked(NamedTuple):
    """An environment where it was unpacked to; `files` and `size` (bytes) as in `Archive`."""

    path: Path
    files: int
    size: int
    manifest: bytes


def unpack(  # noqa: PLR0913 - what goes where, and how
    archive: Path,
    target: Path,
    *,
    threads: int,
    prefix: Path | None = None,
    sha256: str | None = None,
    progress: Progress = QUIET,
) -> Unpacked:
    """Unpack an archive to `target`, mended for that place; all of it appears there or nothing.

    With `prefix`, it is mended for that path instead, to be moved there. The archive must have the
    sum `sha256`; where that is not known, each file must have the sum that the listing says. Raises
    UnpackError when `target` is there and not an empty folder, cannot be written or is too long a
    path, and VerificationError when the archive is damaged or means harm.
    """
    place = Path(os.path.abspath(target))  # noqa: PTH100 - resolve() would follow links
    final = prefix or place
    if "\n" in str(final):
        raise UnpackError(
            "an environment's path must not contain a line break", hint="choose another folder"
        )
    _require_free(place)
    with _told(archive, place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(place.parent, f".{place.name}.") as folder:
            root = folder / "environment"
            root.mkdir(0o700)
            with _required(archive, sha256, threads):
                manifest, rest = _extract(
                    archive, root, final, threads, sums=sha256 is None, progress=progress
                )
            (root / STATE).write_bytes(os.fsencode(final) + b"\n")
            (root / STATE).chmod(0o644)
            root.chmod(0o777 & ~current_umask())
            _require_free(place)
            root.rename(place)
    for member in rest.links:
        if member.kind == "outside":
            progress.warn(f"{member.path} is a link out of the environment, to {member.value}")
    return Unpacked(path=place, files=rest.files, size=rest.size, manifest=manifest)


def _required(
    archive: Path, sha256: str | None, threads: int
) -> contextlib.AbstractContextManager[None]:
    if sha256 is None:
        return contextlib.nullcontext()
    return required_sum(archive, sha256, threads=threads)


def _extract(  # noqa: PLR0913 - what goes where, and how
    archive: Path, root: Path, prefix: Path, threads: int, *, sums: bool, progress: Progress
) -> tuple[bytes, Rest]:
    """Extract an archive of any form; what only one needs is imported while the sum is taken."""
    if form_of(archive) == "squashfs":
        from reespack.unpack.squashfs import extract_squashfs

        return extract_squashfs(archive, root, prefix, threads)
    from reespack.unpack.tar import extract_tar

    return extract_tar(archive, root, prefix, threads, sums=sums, progress=progress)


def read_manifest(archive: Path) -> bytes:
    """Return the manifest in an archive, reading no more than its beginning.

    Raises UnpackError for what is no archive, and VerificationError for a damaged one.
    """
    return _read_file(archive, MANIFEST)


def read_members(archive: Path) -> tuple[Member, ...]:
    """Return the list of what is in an archive, reading no more than its beginning.

    Raises UnpackError and VerificationError as `read_manifest` does, and for a malformed list.
    """
    from reespack.archive.listing import parse_listing

    return parse_listing(_read_file(archive, LISTING))


def _read_file(archive: Path, path: str) -> bytes:
    """Return the manifest or the listing."""
    with _told(archive, None):
        if form_of(archive) == "squashfs":
            from reespack.unpack.squashfs import read_file as read_image

            return read_image(archive, path)
        from reespack.unpack.tar import read_file

        return read_file(archive, path)


def _require_free(place: Path) -> None:
    """Refuse a target that has something in it."""
    if not os.path.lexists(place):
        return
    if not place.is_dir() or place.is_symlink():
        raise UnpackError(
            f"{place} is in the way: it is no folder", hint="unpack into another folder"
        )
    if any(place.iterdir()):
        raise UnpackError(f"{place} is not empty", hint="remove it, or unpack into another folder")


@contextlib.contextmanager
def _told(archive: Path, place: Path | None) -> Iterator[None]:
    """Turn what the operating system says into an error that names the archive and the target."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        problem = error.strerror or str(error)
        doing = f"unpacked to {place}" if place else "read"
        elsewhere = "unpack into a folder that you can write to" if place else None
        raise UnpackError(
            f"{archive} cannot be {doing}: {problem}",
            hint="free some space, or unpack elsewhere" if full else elsewhere,
        ) from error
