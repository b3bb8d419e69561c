"""Asking git: no prompt, no write to the user's repository, no secret in a message."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from reespack.errors import RepositoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reespack.process import Completed

__all__ = ["git", "git_failure", "has_git", "remote_refs", "without_secrets"]

# A git hook, or a shell in a worktree, sets these; they would lead git elsewhere.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
_LOGIN = r"(?<=://)[^/@\s]+@"
_NOISE = (
    r"^(hint:|warning:|fatal: Could not read from remote|Please make sure"
    r"|and the repository exists|\s*$)"
)
# A transfer that stands still for a minute is given up.
_OPTIONS = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")
_NO_LFS = (
    *("-c", "filter.lfs.smudge=", "-c", "filter.lfs.clean="),
    *("-c", "filter.lfs.process=", "-c", "filter.lfs.required=false"),
)


def has_git() -> bool:
    """Say whether there is a git on this machine."""
    return shutil.which("git") is not None


def git(
    args: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    on_output: Callable[[str], None] | None = None,
) -> Completed:
    """Run git; stdout is captured whole, stderr goes to `on_output` without secrets.

    Raises RepositoryError only when there is no git.
    """
    from reespack.process import run  # many a folder is no checkout

    told = None if on_output is None else _without_secrets_to(on_output)
    lfs = () if shutil.which("git-lfs") else _NO_LFS
    try:
        return run(
            ["git", *_OPTIONS, *lfs, *args],
            cwd=cwd,
            env=_environ(),
            on_output=told,
            capture_stdout=True,
        )
    except FileNotFoundError as error:
        raise RepositoryError(
            "git is needed for this, and there is none on this machine",
            hint="install git, or give reespack a folder",
        ) from error


def git_failure(message: str, completed: Completed) -> RepositoryError:
    """Return the error of a git that failed: `message` and git's own last line."""
    lines = [without_secrets(line) for line in completed.tail]
    if any("dubious ownership" in line for line in lines):
        added = [line.strip() for line in lines if "safe.directory" in line]
        return RepositoryError(
            f"{message}: it belongs to another user, and git does not read it",
            hint=f"if you trust it, run `{added[-1]}`" if added else "see `man git-config`",
        )
    telling = [line for line in lines if not re.match(_NOISE, line)] or lines
    last = telling[-1].removeprefix("fatal: ") if telling else completed.ending
    return RepositoryError(
        f"{message}: {last}", hint=_hint(lines), detail="\n".join(lines) if lines[1:] else None
    )


def remote_refs(url: str, *, shown: str) -> dict[str, str]:
    """Return the commits that a remote repository's HEAD, branches and tags stand for.

    Keys are full names (`refs/heads/main`); an annotated tag stands for the commit it tags. Raises
    RepositoryError when the repository cannot be reached.
    """
    completed = git(["ls-remote", "--", url])
    if not completed.ok:
        raise git_failure(f"the repository {shown} cannot be read", completed)
    refs: dict[str, str] = {}
    for line in completed.stdout.splitlines():
        commit, _, name = line.partition("\t")
        refs[name.removesuffix("^{}")] = commit  # the peeled line of a tag comes after its own
    return refs


def without_secrets(text: str) -> str:
    """Return `text` with the user and password of every URL in it left out.

    The user of an ssh URL is no secret, and is needed to use it.
    """
    return "".join(
        part if part.startswith("ssh://") else re.sub(_LOGIN, "", part)
        for part in re.split(r"(ssh://[^\s:@/]+@)", text)
    )


def _without_secrets_to(tell: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: tell(without_secrets(line))


def _hint(lines: Sequence[str]) -> str | None:
    text = "\n".join(lines)
    if re.search(r"could not read (Username|Password)|terminal prompts disabled", text):
        return "is the address right? A private repository needs a git credential helper, or ssh"
    if "Permission denied (publickey" in text or "Host key verification failed" in text:
        return "reespack never asks: let ssh know the key and the host first (`ssh -T HOST`)"
    if "Could not resolve host" in text or "Failed to connect" in text:
        return "check the address and the network, or clone it elsewhere and give the folder"
    return None


def _environ() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    ssh = environ.get("GIT_SSH_COMMAND")
    if ssh or "GIT_SSH" not in environ:
        environ["GIT_SSH_COMMAND"] = f"{ssh or 'ssh'} -oBatchMode=yes -oConnectTimeout=30"
    return {
        **environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",  # empty, not absent: then git asks no other program either
        "GIT_OPTIONAL_LOCKS": "0",  # `git status` does not write its index
        "LC_ALL": "C.UTF-8",
    }
