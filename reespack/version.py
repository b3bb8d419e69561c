"""The version of reespack, without asking the installed metadata each time."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0.dev0"
