"""Blocks go in, frames come out in the same order: several threads compress."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reespack.pack.block import Block, Part, Rooms

__all__ = ["Compression", "compression"]

Made = TypeVar("Made")
Result = TypeVar("Result")

MOST_THREADS = 3
"""One thread reads, and keeps no more than a few busy; with 4 a large build took over 400 MB."""

_AHEAD = 56 << 20
"""Bytes of blocks that threads are at work on or that wait for one, so that none waits for the
reader, and the end is not lonely."""

_MOST_PARTS = 64
"""Parts of large files that wait for a thread: each may keep a file open."""


class Compression(Generic[Made]):
    """The threads that compress, and what they made that is not yet taken from them.

    An exception in a thread is raised where its frame is taken.
    """

    def __init__(
        self,
        make: Callable[[Block | Part], Made],
        rooms: Rooms,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._make = make
        self._rooms = rooms
        self._pool = pool
        self._pending: deque[tuple[Future[Made], Block | Part]] = deque()
        self._begun: dict[str, tuple[Future[Made], Block | Part]] = {}

    def submit(self, function: Callable[[], Result]) -> Future[Result]:
        """Have one of the threads call a function that compresses nothing."""
        return self._pool.submit(function)

    def begin(self, parts: Iterable[Part]) -> None:
        """Begin with something that will come later; the keys tell what it is.

        May be called by any thread.
        """
        for part in parts:
            self._begun[part.key] = self._submitted(part)

    def frames(self, blocks: Iterable[Block | Part]) -> Iterator[Made]:
        """Yield what is made of each block, until the last one has been read.

        From then on no thread opens a file of theirs: it may be removed.
        """
        for block in blocks:
            begun = self._begun.pop(block.key, None)
            self._pending.append(begun or self._submitted(block))
            while self._are_enough():
                yield self._pending.popleft()[0].result()
            yield from self.ready()
        for future, _ in list(self._begun.values()):  # what turned out to be nothing that is packed
            if not future.cancel():
                future.exception()
        for _, block in self._pending:
            block.read()
        self._rooms.close()

    def ready(self) -> Iterator[Made]:
        """Yield what has been made of the first blocks, as far as it has."""
        while self._pending and self._pending[0][0].done():
            yield self._pending.popleft()[0].result()

    def rest(self) -> Iterator[Made]:
        """Yield what was not ready when the last block had been read."""
        while self._pending:
            yield self._pending.popleft()[0].result()

    def _submitted(self, block: Block | Part) -> tuple[Future[Made], Block | Part]:
        return self._pool.submit(self._work, block), block

    def _work(self, block: Block | Part) -> Made:
        made = self._make(block)
        self._rooms.recycle(block)
        return made

    def _are_enough(self) -> bool:
        """Say whether as much waits as may."""
        waiting = [block for future, block in self._pending if not future.done()]
        blocks = [block.length for block in waiting if block.in_memory]
        return sum(blocks) > _AHEAD or len(waiting) - len(blocks) > _MOST_PARTS


@contextlib.contextmanager
def compression(
    make: Callable[[Block | Part], Made], rooms: Rooms, threads: int
) -> Iterator[Compression[Made]]:
    """Yield what calls `make` in `threads` threads; what is done with goes back to `rooms`.

    At the end, what nobody took is given up.
    """
    pool = ThreadPoolExecutor(max(1, min(threads, MOST_THREADS)))
    try:
        yield Compression(make, rooms, pool)
    finally:
        pool.shutdown(cancel_futures=True)
