"""One address for a repository, however it was cloned."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from reespack.repository.git import without_secrets

__all__ = ["public_address"]

_SCP = r"^(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?!/{2})(?P<path>.+)$"
_REMOTE = frozenset({"https", "http", "ssh", "git"})


def public_address(url: str) -> str | None:
    """Return the address that a repository is known by; None for one on this machine.

    Two clones of one repository must be the same input, over https or over ssh. So where the user
    is `git`, as at GitHub, GitLab, Gitea and Bitbucket, whose web addresses have the same path,
    that is taken; elsewhere, where ssh may be the only way, the address stays, without secrets.
    """
    if found := re.match(_SCP, url):
        user, host, path = found["user"], found["host"], found["path"]
        if user != "git":
            return url
    else:
        parts = urlsplit(url)
        scheme = parts.scheme.lower().removeprefix("git+")
        if scheme not in _REMOTE:
            return None
        host, path = parts.netloc.rpartition("@")[2], parts.path
        if scheme == "ssh" and (parts.username != "git" or parts.port):
            return without_secrets(url)
        if scheme == "http":
            return f"http://{host}/{_tidy(path)}"
    return f"https://{host}/{_tidy(path)}"


def _tidy(path: str) -> str:
    return path.strip("/").removesuffix(".git").rstrip("/")
