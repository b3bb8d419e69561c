"""What importing the lock's modules brings along, and what must come first."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_reader_costs_neither_solver_nor_conda_lock() -> None:
    code = (
        "import sys; from reespack.locking import read_lock; "
        "assert not {'conda_lock', 'rattler'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_threads_may_not_read_for_the_first_time_at_once_is_read_before() -> None:
    """Or else uv is not found, now and then (https://github.com/python/cpython/issues/92452)."""
    code = (
        "import sysconfig; from reespack.locking.make import _import_conda_lock; "
        "_import_conda_lock(); assert 'EXE' in (sysconfig._CONFIG_VARS or {})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
