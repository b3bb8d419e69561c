"""Becoming a program that runs in an environment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from reespack.errors import UnpackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.installing.unpacking import Installation

__all__ = ["become"]

_SHELL = "/bin/sh"
_EXEC = "share/reespack/exec"


def become(installation: Installation, command: Sequence[str]) -> NoReturn:
    """Replace this process by `command`, in the activated environment, with `start` around it.

    The process stays the same, so that signals reach the command, its exit code is this process's,
    and the lease holds for as long as it runs. Raises UnpackError when the environment has no
    `share/reespack/exec`.
    """
    script = installation.path / _EXEC
    if not script.is_file():
        raise UnpackError(
            f"{installation.path} has no {_EXEC}", hint="build the archive again with this reespack"
        )
    variables = _given_variables()
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these two for itself, and what is ignored stays so in the next program.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(_SHELL, [_SHELL, str(script), *command], variables)  # noqa: S606 - it is a shell


def _given_variables() -> dict[bytes, bytes]:
    """Return this process's variables, without what Python itself sets for the C locale."""
    variables = dict(os.environb)
    with contextlib.suppress(OSError):
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
        if not any(one.startswith(b"LC_CTYPE=") for one in given):
            variables.pop(b"LC_CTYPE", None)
    return variables
