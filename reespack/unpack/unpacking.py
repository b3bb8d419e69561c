"""From an archive to an environment: checked while it streams, mended before it is written."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import STATE
from reespack.archive.frames import form_of, plain
from reespack.archive.header import END
from reespack.archive.listing import parse_listing
from reespack.errors import UnpackError
from reespack.files import current_umask, temporary_folder
from reespack.progress import QUIET
from reespack.unpack.extract import NewFiles, Rest, extract, finish
from reespack.unpack.head import read_head
from reespack.unpack.processes import Task, extractors
from reespack.unpack.stream import TarStream, read_unlisted
from reespack.unpack.whole import required_sum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from reespack.archive.listing import Member
    from reespack.progress import Progress
    from reespack.unpack.processes import Extractors

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
            if form_of(archive) == "squashfs":
                from reespack.unpack.squashfs import extract_squashfs

                with required_sum(archive, sha256) if sha256 else contextlib.nullcontext():
                    manifest, rest = extract_squashfs(archive, root, os.fsencode(final), threads)
            else:
                with (
                    extractors(archive, threads=threads) as processes,
                    _required_sum(archive, sha256, processes),
                ):
                    manifest, rest = _extract_tar(
                        archive, processes, root, final, progress, sums=sha256 is None
                    )
            (root / STATE).write_bytes(os.fsencode(final) + b"\n")
            (root / STATE).chmod(0o644)
            root.chmod(0o777 & ~current_umask())
            _require_free(place)
            root.rename(place)
    for member in rest.members:
        if member.kind == "outside":
            progress.warn(f"{member.path} is a link out of the environment, to {member.value}")
    return Unpacked(path=place, files=rest.files, size=rest.size, manifest=manifest)


def read_manifest(archive: Path) -> bytes:
    """Return the manifest in an archive, reading no more than its beginning.

    Raises UnpackError for what is no archive, and VerificationError for a damaged one.
    """
    with _told(archive, None):
        form = form_of(archive)
        if form == "squashfs":
            from reespack.unpack.squashfs import read_file

            return read_file(archive, MANIFEST)
        return read_unlisted(TarStream(plain(archive, form)), MANIFEST)


def read_members(archive: Path) -> tuple[Member, ...]:
    """Return the list of what is in an archive, reading no more than its beginning.

    Raises UnpackError and VerificationError as `read_manifest` does, and for a malformed list.
    """
    with _told(archive, None):
        form = form_of(archive)
        if form == "squashfs":
            from reespack.unpack.squashfs import read_file

            return parse_listing(read_file(archive, LISTING))
        stream = TarStream(plain(archive, form))
        read_unlisted(stream, MANIFEST)
        return parse_listing(read_unlisted(stream, LISTING))


def _required_sum(
    archive: Path, sha256: str | None, processes: Extractors
) -> AbstractContextManager[None]:
    """Have the sum taken, if there is one to compare it with: by a process, if there are any."""
    if sha256 is None:
        return contextlib.nullcontext()
    if processes.workers:
        return processes.required_sum(archive, sha256)
    return required_sum(archive, sha256)


def _extract_tar(  # noqa: PLR0913 - what goes where, and how
    archive: Path,
    processes: Extractors,
    root: Path,
    prefix: Path,
    progress: Progress,
    *,
    sums: bool,
) -> tuple[bytes, Rest]:
    rest = Rest()
    with contextlib.closing(plain(archive, form_of(archive))) as pieces:
        stream = TarStream(pieces)
        head = read_head(stream, os.fsencode(prefix))
        rest.add(head.first)
        batches = map(rest.add, head.batches)
        files = NewFiles(root)
        for path, content in head.files:
            files.write(path, "0644", content)
        if processes.fit(stream.position):
            task = Task(archive=archive, root=root, prefix=prefix, mtime=stream.mtime, sums=sums)
            with progress.task("unpacking", total=processes.size, unit="bytes") as advance:
                processes.extract(task, head, batches, advance)
        else:
            body = tuple(batches)  # all is checked before anything is written
            total = sum(sum(lines.sizes) for lines in body)
            with progress.task("unpacking", total=total, unit="bytes") as advance:
                for lines in body:
                    extract(stream, lines, files, head.mending, sums=sums, advance=advance)
                stream.require_end(len(END))
    finish(root, rest)
    return head.manifest, rest


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
