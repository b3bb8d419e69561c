"""Blocks go in, frames come out in the same order: several threads compress."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reespack.pack.block import Block
    from reespack.pack.blocks import Blocks

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

    def __init__(self, make: Callable[[Block], Made], pool: ThreadPoolExecutor, ahead: int) -> None:
        self._make = make
        self._pool = pool
        self._ahead = ahead
        self._pending: deque[tuple[Future[Made], Block]] = deque()

    def frames(self, blocks: Blocks) -> Iterator[Made]:
        """Yield what is made of each block, until the last one has been read.

        From then on no thread looks at a file that is packed: it may be removed.
        """

        def work(block: Block) -> Made:
            made = self._make(block)
            blocks.recycle(block)
            return made

        for block in blocks:
            self._pending.append((self._pool.submit(work, block), block))
            while len(self._pending) > self._ahead or self._pending[0][0].done():
                yield self._pending.popleft()[0].result()
                if not self._pending:
                    break
        for _, block in self._pending:
            block.read()

    def rest(self) -> Iterator[Made]:
        """Yield what was not ready when the last block had been read."""
        while self._pending:
            yield self._pending.popleft()[0].result()


@contextlib.contextmanager
def compression(make: Callable[[Block], Made], threads: int) -> Iterator[Compression[Made]]:
    """Yield what calls `make` in `threads` threads; at the end, what nobody took is given up."""
    workers = max(1, min(threads, MOST_THREADS))
    pool = ThreadPoolExecutor(workers)
    try:
        yield Compression(make, pool, min(workers + _WAITING, _MOST_BLOCKS))
    finally:
        pool.shutdown(cancel_futures=True)
