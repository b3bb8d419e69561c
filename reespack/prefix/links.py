"""Environments whose files are links into the cache: which may be, and how wheels get into them.

A link costs a fraction of a copy, in time and on the disk; but who writes into a linked file writes
into the cache. So only environments are linked in which nothing of anybody's runs while they are
made, and whatever is written there later replaces files, and never writes into one.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.files import sha256_file, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reespack.model import EnvironmentSpec
    from reespack.prefix.changes import Change
    from reespack.prefix.conda_meta import CondaFile
    from reespack.products import PlatformLock

__all__ = ["CopiesNeeded", "may_be_linked", "move_into", "require_no_scripts", "script_of"]

_LOCK = ".lock"
"""What uv leaves beside what it has installed."""

_BYTECODE = "/__pycache__/"


class CopiesNeeded(Exception):  # noqa: N818 - no error: the environment is made anew, of copies
    """Something would write into files of the environment, or might."""


def may_be_linked(spec: EnvironmentSpec, lock: PlatformLock) -> bool:
    """Say whether nothing is known yet that would run in the environment or write into its files.

    Builds of wheels do, postBuild does, and uv when it takes one of conda's distributions away.
    """
    plain = all(package.kind == "wheel" and not package.overrides for package in lock.pip)
    return plain and spec.post_build is None


def script_of(name: str) -> str:
    """Return where a conda package's post-link script lies."""
    return f"bin/.{name}-post-link.sh"


def require_no_scripts(prefix: Path) -> None:
    """Raise CopiesNeeded when packages have post-link scripts, which may write to any file."""
    if any(prefix.glob(script_of("*"))):
        raise CopiesNeeded


def move_into(
    prefix: Path, staged: Path, owned: Mapping[str, CondaFile]
) -> Iterator[tuple[str, Change]]:
    """Move what uv installed in `staged` into an environment on the same file system.

    A file that is there already is replaced, which its other names do not notice. Yields those of
    conda's files (`owned`) that are other ones now, in order. Raises CopiesNeeded before anything
    is moved when a header is to be installed: where those go, uv says differently for folders of
    their own.
    """
    if (staged / "include").exists():
        raise CopiesNeeded
    for path, entry in walk(staged):
        target = prefix / path
        if path == _LOCK:
            continue
        if entry.is_dir(follow_symlinks=False):
            target.mkdir(exist_ok=True)
            continue
        changed = path in owned and not _same(target, Path(entry.path), owned[path].sha256)
        Path(entry.path).replace(target)
        if changed and _BYTECODE not in f"/{path}":
            yield path, "changed"


def _same(old: Path, new: Path, digest: str | None) -> bool:
    """Say whether a file will be packed as the one that conda brought, whose sha256 is `digest`."""
    before, after = old.lstat(), new.lstat()
    return (
        stat.S_ISREG(before.st_mode)
        and stat.S_ISREG(after.st_mode)
        and before.st_mode & stat.S_IXUSR == after.st_mode & stat.S_IXUSR
        and before.st_size == after.st_size
        and digest is not None
        and digest == sha256_file(new)
    )
