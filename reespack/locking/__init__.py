"""The lock phase: every package of an environment, pinned, in conda-lock's v1 format."""

from __future__ import annotations

from reespack.locking.given import given_lock
from reespack.locking.make import is_current, lock
from reespack.locking.reading import read_lock

__all__ = ["given_lock", "is_current", "lock", "read_lock"]
