"""Addresses as a manifest may show them: without secrets, and without this machine's folders."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

__all__ = ["public_url"]

_TOKEN = re.compile(r"/t/[^/]+(?=/|$)")
"""How anaconda.org and Artifactory's conda repositories carry a token in a path."""


def public_url(url: str, *, keep: int = 1) -> str:
    """Return `url` without user, password, token and query.

    Of a `file:` address, and of a plain path, only the last `keep` parts stay, as `file:a/b`:
    where a local channel lies says nothing elsewhere. ssh keeps its user, which is no secret.
    A name that is no address (a channel's) stays as it is.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:
        if url.startswith(("/", "./", "../", "~")):
            return _local(url, keep)
        # scp's form, `user@host:path`.
        return re.sub(r"^([^/@:]+):[^/@]+@", r"\1@", url)
    parts = urlsplit(url)
    if scheme == "file" or scheme.endswith("+file"):
        kept = _local(parts.path, keep)
        return (
            f"{scheme.removesuffix('file')}{kept}{f'#{parts.fragment}' if parts.fragment else ''}"
        )
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    netloc = f"{name}@{host}" if name and scheme.endswith("ssh") else host
    path = _TOKEN.sub("", parts.path)
    return urlunsplit((parts.scheme, netloc, path, "", parts.fragment))


def _local(path: str, keep: int) -> str:
    return "file:" + "/".join(path.rstrip("/").split("/")[-keep:])
