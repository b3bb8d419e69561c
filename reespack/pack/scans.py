"""Large files are looked through before it is their turn, by threads that have time.

The one thread that reads all the others would hand on nothing to compress meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from reespack.archive.listing import Member

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from reespack.pack.collect import Source
    from reespack.pack.prefixes import BuildPrefix

    Submit = Callable[[Callable[[], Member | None]], Future[Member | None]]

__all__ = ["Scans", "kind_of"]

_CHUNK = 1 << 20


class Scans:
    """Files that are read for their digest, and for whether the prefix stands in them.

    `submit` has a function called by another thread, some time; without it, nothing is done before
    it is asked for.
    """

    def __init__(self, prefix: BuildPrefix, submit: Submit | None = None) -> None:
        self._prefix = prefix
        self._submit = submit
        self._begun: dict[str, Future[Member | None]] = {}
        self._known: dict[str, Member | None] = {}

    def begin(
        self, source: Source, then: Callable[[Member | None], object] = lambda _member: None
    ) -> None:
        """Have a file read that `member` will be asked for, unless it has been begun with.

        Whoever has read it calls `then` with its member; with None, too, when it cannot be read.
        """

        def work() -> Member | None:
            member = None
            try:
                member = self._read(source)
            finally:
                then(member)
            return member

        if self._submit is not None and source.path not in self._begun:
            self._begun[source.path] = self._submit(work)

    def member(self, source: Source) -> Member | None:
        """Return a file's member; None when the prefix stands in it.

        What no other thread has begun to read is read at once. Raises OSError for what cannot be.
        """
        if source.path not in self._known:
            future = self._begun.get(source.path)
            if future is None or future.cancel():
                self._known[source.path] = self._read(source)
            else:
                self._known[source.path] = future.result()
        return self._known[source.path]

    def _read(self, source: Source) -> Member | None:
        handle = os.open(source.file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            kind = kind_of(os.fstat(handle))
            whole = self._whole(handle)
        finally:
            os.close(handle)
        return Member(source.path, kind, *whole) if whole else None

    def _whole(self, handle: int) -> tuple[int, str] | None:
        """Return the size and sha256 of a file; None when the prefix stands in it.

        It is looked for in pieces that overlap by its length.
        """
        overlap = max(map(len, self._prefix.needles)) * 3
        buffer = bytearray(_CHUNK)
        kept = size = 0
        digest = hashlib.sha256()
        with memoryview(buffer) as view:
            while count := os.readv(handle, [view[kept:]]):
                end = kept + count
                if self._prefix.stands_in(buffer, 0, end):
                    return None
                digest.update(view[kept:end])
                size += count
                kept = min(overlap, end)
                view[:kept] = bytes(view[end - kept : end])
        return size, digest.hexdigest()


def kind_of(status: os.stat_result) -> str:
    """Return a file's kind, as in the listing."""
    return "0755" if status.st_mode & stat.S_IXUSR else "0644"
