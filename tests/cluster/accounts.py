"""Accounts for one run of the tests, and nobody else; only root can make them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from slurm import processes_of

from testbed.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_account", "remove_account"]

_LOCKED = (1, 10)
"""useradd(8), userdel(8): /etc/passwd or /etc/group could not be changed, since another one is."""


def make_account(name: str, *, home: Path) -> None:
    """Make an account with a home folder."""
    _run("useradd", "--create-home", "--home-dir", str(home), "--shell=/bin/bash", name)


def remove_account(name: str) -> None:
    """Remove an account and its home folder, once nothing of it runs any more."""
    if subprocess.run(["id", name], capture_output=True, check=False).returncode == 0:
        wait_for(lambda: not processes_of(name), seconds=60, what=f"{name} runs nothing")
        _run("userdel", "--remove", name)


def _run(*command: str) -> None:
    def ended() -> subprocess.CompletedProcess[str] | None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return None if done.returncode in _LOCKED else done

    done = wait_for(ended, seconds=120, what=f"{command[0]} may change the list of accounts")
    assert done.returncode == 0, f"{command}: {done.stderr}"
