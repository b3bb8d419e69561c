"""The cache: what lies where in it, who uses it, and what may go.

`cache` keeps and finds things, `use` says which of them builds that are under way rely on,
`entries` lists and measures them, `prune` removes what has not been used for long.
"""

from __future__ import annotations

from reespack.store.cache import Cache

__all__ = ["Cache"]
