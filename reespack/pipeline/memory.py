"""Less memory for a build: what was freed goes back to the system, as far as the C library can.

These are calls of glibc (mallopt(3), malloc_trim(3)); any other C library goes its own way.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

__all__ = ["economize", "give_back"]

_MMAP_THRESHOLD = -3
_ARENA_MAX = -8

_ARENAS = 2
_LARGE = 1 << 22


@functools.cache
def economize() -> None:
    """Let threads share what they free, and let what is large be freed for good.

    To be called before rattler starts its many threads. Each would keep what it freed for itself,
    and glibc keeps ever larger blocks: together a quarter of all that a build takes at its peak.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_ARENA_MAX, _ARENAS)
        mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Return what was freed to the system."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _function(name: str) -> Any:  # noqa: ANN401 - a foreign function has no type of its own
    return getattr(ctypes.CDLL(None), name, None)
