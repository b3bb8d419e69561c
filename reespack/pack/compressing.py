"""Blocks go in, frames come out in the same order: several threads compress."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reespack.pack.blocks import Block, Blocks

__all__ = ["Compression", "compression"]

MOST_THREADS = 16
"""More would not be faster, since one thread reads, and would need more than 400 MB."""

_WAITING = 6
"""Blocks that wait for a thread, so that none waits for the reader, and the end is not lonely."""

_MOST_BLOCKS = 19
"""Blocks in memory at once, of 8 MiB or a little more."""


class Compression:
    """The threads that compress, and the frames that are not yet taken from them.

    An exception in a thread is raised where its frame is taken.
    """

    def __init__(
        self, compress: Callable[[memoryview], bytes], pool: ThreadPoolExecutor, ahead: int
    ) -> None:
        self._compress = compress
        self._pool = pool
        self._ahead = ahead
        self._pending: deque[Future[tuple[bytes, int]]] = deque()

    def frames(self, blocks: Blocks) -> Iterator[tuple[bytes, int]]:
        """Yield frames, and the lengths of their blocks, until the last block has been read."""

        def work(block: Block) -> tuple[bytes, int]:
            length = block.length
            frame = self._compress(block.view[:length])
            blocks.recycle(block)
            return frame, length

        for block in blocks:
            self._pending.append(self._pool.submit(work, block))
            while len(self._pending) > self._ahead or self._pending[0].done():
                yield self._pending.popleft().result()
                if not self._pending:
                    break

    def rest(self) -> Iterator[tuple[bytes, int]]:
        """Yield the frames that were not ready when the last block had been read."""
        while self._pending:
            yield self._pending.popleft().result()


@contextlib.contextmanager
def compression(compress: Callable[[memoryview], bytes], threads: int) -> Iterator[Compression]:
    """Yield what compresses in `threads` threads; at the end, what nobody took is given up."""
    workers = max(1, min(threads, MOST_THREADS))
    pool = ThreadPoolExecutor(workers)
    try:
        yield Compression(compress, pool, min(workers + _WAITING, _MOST_BLOCKS))
    finally:
        pool.shutdown(cancel_futures=True)
