"""The shell scripts that kernels start through, and how a file of an environment is replaced."""

from __future__ import annotations

import shlex
from pathlib import Path

from reespack.files import temporary_beside

__all__ = ["PREFIX_MARK", "read_script", "replace_file", "shell_text"]

PREFIX_MARK = "@PREFIX@"
"""What stands for the environment's folder in a kernel's command; the launchers replace it."""


def read_script(name: str) -> str:
    """Return the text of a script of this package."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def replace_file(target: Path, content: str | bytes, *, executable: bool = False) -> None:
    """Put a new file in the place of `target`, which may be a link into a package cache.

    Its mode is 0644 or 0755, whatever the umask: others may read an environment.
    """
    with temporary_beside(target) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    target.chmod(0o755 if executable else 0o644)


def shell_text(value: str, *, prefix: str, variable: str) -> str:
    """Quote `value` for a POSIX shell, with `prefix` in it as the shell variable `variable`."""
    quoted = (shlex.quote(part) if part else "" for part in value.split(prefix))
    return f'"${{{variable}}}"'.join(quoted) or "''"
