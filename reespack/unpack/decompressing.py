"""An archive's plain bytes in order, while several threads decompress what comes next."""

from __future__ import annotations

import functools
from collections import deque
from concurrent.futures import wait
from typing import TYPE_CHECKING

from reespack.archive.frames import decompressed, find_frames, form_of, plain
from reespack.errors import UnpackError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from reespack.archive.frames import Frame

__all__ = ["blocks"]


def _require_tar(archive: Path) -> str:
    """Return the compression of a tar archive: zst or gz."""
    form = form_of(archive)
    if form == "squashfs":
        raise UnpackError(f"{archive} is a squashfs image")
    return form


def blocks(
    archive: Path, pool: Executor, ahead: int, *, damaged: list[str] | None = None
) -> Generator[bytes, None, None]:
    """Yield an archive's plain bytes in pieces; frames are decompressed by `pool`, some ahead.

    Where there is no index (another program compressed it anew), they come one after the other.
    With `damaged`, a damaged frame is named there and zeros come in its place, so that what is in
    the others can be looked at.
    """
    form = _require_tar(archive)
    frames = find_frames(archive, form)
    if not frames:
        yield from plain(archive, form)
        return
    with archive.open("rb") as file:
        work = functools.partial(_decompressed, file.fileno(), damaged)
        pending: deque[Future[bytes]] = deque()
        try:
            for frame in frames:
                pending.append(pool.submit(work, frame))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)


def _decompressed(handle: int, damaged: list[str] | None, frame: Frame) -> bytes:
    try:
        return decompressed(handle, frame)
    except VerificationError as error:
        if damaged is None:
            raise
        damaged.append(error.message)
        return bytes(frame.size)
