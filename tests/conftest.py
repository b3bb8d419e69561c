"""Where tests put their files: in memory where there is room, else where pytest does.

The end-to-end tests make and remove some hundred thousand small files. On a disk most of their
time goes into finding free inodes.
"""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - shared memory is what is wanted
ENOUGH = 6 << 30
"""Bytes that the largest test session takes, doubled."""


def pytest_configure() -> None:
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not MEMORY.is_dir():
        return
    room = os.statvfs(MEMORY)
    executable = not room.f_flag & os.ST_NOEXEC
    if executable and room.f_bavail * room.f_frsize > ENOUGH and _free_memory() > ENOUGH:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def _free_memory() -> int:
    """Return the bytes of memory that could be had; 0 when the kernel does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    kilobytes = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(next(kilobytes, "0")) * 1024
