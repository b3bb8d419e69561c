"""Memory that goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
from pathlib import Path
from reespack.pipeline.memory import give_back
def size():
    return int(Path("/proc/self/statm").read_text().split()[1])
held = [bytes(1000) for _ in range(100_000)]
pin = [bytes(1000)]
before = size()
del held
give_back()
print(before - size())
"""


def test_what_was_freed_goes_back() -> None:
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or "") or not Path("/proc").exists():
        pytest.skip("another C library")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) * os.sysconf("SC_PAGE_SIZE") > 50_000_000
