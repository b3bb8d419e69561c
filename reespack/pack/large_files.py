"""The large files of a prefix: which to begin with, and where the others stand between small ones.

Small files take longer to read than to compress, large ones the other way round, and while
something is rewritten nothing is read. So there is always something left to compress, and there is
at the end, while the head is made. It is an order that only the contents tell: the archive is to be
the same, whoever happens to be ready.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import deque
from typing import TYPE_CHECKING

from reespack.pack.block import LARGE
from reespack.pack.collect import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reespack.archive.listing import Member
    from reespack.pack.scans import Scans

    Begun = Callable[[Member, str], object]

__all__ = ["LargeFiles"]

BEGUN = 64 << 20
LEFT = 192 << 20
"""Bytes of large files to begin with, at most, and to leave for the end."""

_AT_A_TIME = 2
"""Large files that are looked through at once, before anything is compressed."""

_SOON = 4
"""Large files that are looked through ahead of their turn."""


class LargeFiles:
    """A queue of large files, which are looked through by `scans` before their turn.

    `known` has the sizes in bytes of those that conda's records name, by path, the largest first.
    Each file is yielded once, by `first`, `between` or `rest`.
    """

    def __init__(self, known: Mapping[str, int], scans: Scans) -> None:
        self._known = known
        self._scans = scans
        self._first = _begun_with(known)
        self._unbegun: deque[Source] = deque()
        self._waiting: deque[tuple[Source, int]] = deque()
        self._size = 0
        self._yielded = 0

    def begin(self, prefix: Path, begun: Begun) -> None:
        """Have the first files read that `first` will yield, until `expect` is called.

        So they can be in work before anybody knows what else there is. `begun` is called with the
        member and the file's path, by any thread; not for what is no large file any more, nor for
        what has the prefix in it.
        """
        for path in reversed(self._first):
            file = os.path.join(prefix, path)  # noqa: PTH118 - names are strings here
            self._unbegun.append(Source(path, "file", file))
        for _ in range(_AT_A_TIME):
            self._begin_next(begun)

    def _begin_next(self, begun: Begun, member: Member | None = None, file: str = "") -> None:
        """Begin with a file that has been read, and then have another one be."""
        if member is not None and member.size >= LARGE:
            begun(member, file)
        try:
            source = self._unbegun.popleft()
        except IndexError:  # that was the last one, or another thread has taken it
            return
        self._scans.begin(source, functools.partial(self._begin_next, begun, file=source.file))

    def expect(self, sources: Sequence[Source]) -> list[Source]:
        """Take from `sources` the files that are known to be large; return all others."""
        self._unbegun.clear()
        others: list[Source] = []
        large: dict[str, Source] = {}
        for source in sources:
            if source.path in self._known and source.kind == "file" and not source.change:
                large[source.path] = source
            else:
                others.append(source)
        for path, size in {**self._first, **self._known}.items():
            if path in large:
                self.add(large[path], size)
        return others

    def add(self, source: Source, size: int) -> None:
        """Have a file wait behind all others; `size` is in bytes."""
        self._waiting.append((source, size))
        self._size += size

    def first(self) -> Iterator[Source]:
        """Yield the files that come before all small ones."""
        yield from self._due(sum(self._first.values()))

    def between(self, number: int, count: int) -> Iterator[Source]:
        """Yield the files that come behind small one `number` of `count`: spread evenly."""
        begun = sum(self._first.values())
        spread = max(0, self._size - begun - LEFT)
        yield from self._due(begun + spread * number // count)

    def rest(self) -> Iterator[Source]:
        """Yield all that have not been yielded."""
        yield from self._due(self._size)

    def _due(self, size: int) -> Iterator[Source]:
        """Yield those that have waited longest, until `size` bytes have ever been yielded."""
        while self._waiting and self._yielded < size:
            source, more = self._waiting.popleft()
            self._yielded += more
            for following, _ in itertools.islice(self._waiting, _SOON):
                self._scans.begin(following)
            yield source


def _begun_with(known: Mapping[str, int]) -> dict[str, int]:
    """Return the files to begin with, and their sizes in bytes."""
    found: dict[str, int] = {}
    for path, size in known.items():
        if sum(found.values()) + size <= BEGUN:
            found[path] = size
    return found
