"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes

__all__ = ["give_back"]


def give_back() -> None:
    """Return what was freed to the system, where the C library can (glibc's malloc_trim(3)).

    What the threads of rattler's installer had stays with the process otherwise, up to a fifth of
    all that a build may take.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
