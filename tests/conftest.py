"""The surroundings of all tests: where their files are, and which signals arrive.

Files are in memory where there is room, else where pytest has them: the end-to-end tests make and
remove some hundred thousand small ones, and on a disk most of their time goes into finding free
inodes. Ctrl-C and hanging up end a program, as at a terminal: what a script starts in the
background, or with nohup, ignores them, and so would whatever the tests start.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - shared memory is what is wanted
ENOUGH = 6 << 30
"""Bytes that the largest test session takes, doubled."""


def pytest_configure() -> None:
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
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
