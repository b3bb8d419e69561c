"""File names as UTF-8, whatever the locale says."""

from __future__ import annotations

import os
import sys

__all__ = ["use_utf8"]


def use_utf8() -> None:
    """Start this program anew in UTF-8 mode where the locale has another encoding (latin-1, C).

    Names of files would be read by that, and stand in the manifest otherwise than elsewhere.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return
    words = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execv(sys.executable, words)  # noqa: S606 - the same program
