"""Tar archives: unpacked by as many processes as there may be, and read from the beginning."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from reespack.archive import MANIFEST
from reespack.archive.frames import form_of, plain
from reespack.archive.header import END
from reespack.unpack.extract import NewFiles, Rest, extract, finish, make_folders
from reespack.unpack.head import read_head
from reespack.unpack.processes import Task, extractors
from reespack.unpack.stream import TarStream, read_unlisted

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.archive.listing import Lines
    from reespack.progress import Progress

__all__ = ["extract_tar", "read_file"]


def extract_tar(  # noqa: PLR0913 - what goes where, and how
    archive: Path, root: Path, prefix: Path, threads: int, *, sums: bool, progress: Progress
) -> tuple[bytes, Rest]:
    """Unpack an archive to `root`, mended for `prefix`; return its manifest, and what there is.

    With `sums`, each file must have the sum that the listing says; else whoever calls this takes
    the archive's. Raises UnpackError and VerificationError for what is no archive, or a damaged or
    harmful one.
    """
    rest = Rest()

    def begin(lines: Lines) -> Lines:
        make_folders(root, rest.add(lines))
        return lines

    with (
        extractors(archive, threads=threads) as processes,
        contextlib.closing(plain(archive, form_of(archive))) as pieces,
    ):
        stream = TarStream(pieces)
        head = read_head(stream, os.fsencode(prefix))
        begin(head.first)
        batches = map(begin, head.batches)
        files = NewFiles(root)
        for path, content in head.files:
            files.write(path, "0644", content)
        if processes.fit(stream.position):
            task = Task(archive=archive, root=root, prefix=prefix, mtime=stream.mtime, sums=sums)
            with progress.task("unpacking", total=processes.size, unit="bytes") as advance:
                processes.extract(task, head, batches, advance)
        else:
            body = tuple(batches)  # the whole list is checked before any file is written
            total = sum(sum(lines.sizes) for lines in body)
            with progress.task("unpacking", total=total, unit="bytes") as advance:
                for lines in body:
                    extract(stream, lines, files, head.mending, sums=sums, advance=advance)
                stream.require_end(len(END))
        finish(root, rest)
    return head.manifest, rest


def read_file(archive: Path, path: str) -> bytes:
    """Return the manifest or the listing, reading no more than the archive's beginning."""
    stream = TarStream(plain(archive, form_of(archive)))
    manifest = read_unlisted(stream, MANIFEST)
    return manifest if path == MANIFEST else read_unlisted(stream, path)
