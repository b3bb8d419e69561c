"""Blocks go in, frames come out in the same order: several threads compress."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reespack.pack.block import Block

__all__ = ["Compression", "compression"]

Made = TypeVar("Made")

MOST_THREADS = 16
"""More would not be faster, since one thread reads, and would need more than 400 MB."""

_WAITING = 6
"""Blocks that wait for a thread, so that none waits for the reader, and the end is not lonely."""

_MOST_BLOCKS = 19
"""Blocks in memory at once, of 8 MiB or a little more."""


class Compression(Generic[Made]):
    """The threads that compress, and what they made that is not yet taken from them.

    An exception in a thread is raised where its frame is taken.
    """

    def __init__(
        self,
        make: Callable[[Block], Made],
        recycle: Callable[[Block], None],
        pool: ThreadPoolExecutor,
        ahead: int,
    ) -> None:
        self._make = make
        self._recycle = recycle
        self._pool = pool
        self._ahead = ahead
        self._pending: deque[tuple[Future[Made], Block]] = deque()
        self._begun: dict[str, tuple[Future[Made], Block]] = {}

    def begin(self, blocks: Iterable[Block]) -> None:
        """Begin with a few of the blocks that will come later; their keys tell which they are."""
        for block in itertools.islice(blocks, self._ahead):
            self._begun[block.key] = self._submitted(block)

    def frames(self, blocks: Iterable[Block]) -> Iterator[Made]:
        """Yield what is made of each block, until the last one has been read.

        From then on no thread looks at a file that is packed: it may be removed.
        """
        for block in blocks:
            begun = self._begun.pop(block.key, None)
            if begun:
                self._recycle(block)
            self._pending.append(begun or self._submitted(block))
            while self._unfinished() > self._ahead or self._pending[0][0].done():
                yield self._pending.popleft()[0].result()
                if not self._pending:
                    break
        for future, _ in self._begun.values():  # what turned out to be nothing that is packed
            if not future.cancel():
                future.exception()
        for _, block in self._pending:
            block.read()

    def _submitted(self, block: Block) -> tuple[Future[Made], Block]:
        return self._pool.submit(self._work, block), block

    def _work(self, block: Block) -> Made:
        made = self._make(block)
        self._recycle(block)
        return made

    def _unfinished(self) -> int:
        """Return how many blocks are in memory, at most."""
        return len(self._pending) + sum(not one.done() for one, _ in self._begun.values())

    def rest(self) -> Iterator[Made]:
        """Yield what was not ready when the last block had been read."""
        while self._pending:
            yield self._pending.popleft()[0].result()


@contextlib.contextmanager
def compression(
    make: Callable[[Block], Made], recycle: Callable[[Block], None], threads: int
) -> Iterator[Compression[Made]]:
    """Yield what calls `make` in `threads` threads; `recycle` gets each block when it is done with.

    At the end, what nobody took is given up.
    """
    workers = max(1, min(threads, MOST_THREADS))
    pool = ThreadPoolExecutor(workers)
    try:
        yield Compression(make, recycle, pool, min(workers + _WAITING, _MOST_BLOCKS))
    finally:
        pool.shutdown(cancel_futures=True)
