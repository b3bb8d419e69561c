"""A checkout that belongs to another user, read without running anything that its owner chose.

git refuses to look into one, since its configuration can name programs to run. The commit is part
of what is built, whoever builds it; so git is told to look, and not to run any of those.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from reespack.repository.git import git

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_foreign", "reading"]

_NOTHING_RUNS = (
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "log.showSignature=false"),
    *("-c", "protocol.allow=never"),  # no missing object is fetched
    *("-c", "core.pager=cat"),
)
_FILTER = re.compile(r"^filter\.(.+)\.(?:clean|smudge|process|required)$")


def is_foreign(checkout: Path) -> bool:
    """Say whether a checkout, or its .git, belongs to somebody else."""
    return any(path.stat().st_uid != os.geteuid() for path in (checkout, checkout / ".git"))


def reading(checkout: Path) -> tuple[str, ...]:
    """Return the options with which git reads a checkout of whomever; none for one's own."""
    if not is_foreign(checkout):
        return ()
    trust = ("-c", f"safe.directory={checkout}", *_NOTHING_RUNS)
    listed = git([*trust, "config", "--name-only", "--list"], cwd=checkout).stdout
    names = {found[1] for line in listed.splitlines() if (found := _FILTER.match(line))}
    off = (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    filters = [
        word
        for name in sorted(names)
        for key, value in off
        for word in ("-c", f"filter.{name}.{key}={value}")
    ]
    return (*trust, *filters)
