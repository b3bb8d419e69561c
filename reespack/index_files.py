"""Reading files where a package index keeps them: its certificates, its proxy, its logins.

uv has no command that only downloads. What a URL says of itself comes first, then the login of an
index on the same host (uv leaves it out of the URLs that it writes, and a lock has no passwords),
then .netrc.
"""

from __future__ import annotations

import base64
import netrc
import os
import ssl
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reespack.package_index import PackageIndex

__all__ = ["IndexFiles"]

_TIMEOUT = 60
"""Seconds without a byte."""
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_SCHEMES = frozenset({"http", "https", "file"})

Login = tuple[str, str]


class IndexFiles:
    """Opens URLs as `index` says, and as uv would."""

    def __init__(self, index: PackageIndex) -> None:
        variables = index.variables(os.environ)
        self._logins = dict(_logins(variables))
        context = ssl.create_default_context(cafile=variables.get("SSL_CERT_FILE"))
        proxies = {"http": index.proxy, "https": index.proxy} if index.proxy is not None else None
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler(proxies)
        )

    def open(self, url: str) -> Any:  # noqa: ANN401 - urllib's own type for an answer
        """Return an answer to read from and to close.

        Raises ValueError for another scheme than http, https and file, and what urllib raises:
        OSError or http.client.HTTPException.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"{parts.scheme}: URLs cannot be downloaded from")
        host = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            urllib.parse.urlunsplit(parts._replace(netloc=host, fragment=""))
        )
        if (login := self._login(parts)) is not None:
            token = base64.b64encode(":".join(login).encode()).decode()
            # Unredirected: a server that sends us elsewhere must not hand the password on.
            request.add_unredirected_header("Authorization", f"Basic {token}")
        return self._opener.open(request, timeout=_TIMEOUT)

    def _login(self, parts: urllib.parse.SplitResult) -> Login | None:
        if (own := _login_in(parts)) is not None:
            return own
        if (known := self._logins.get(parts.hostname or "")) is not None:
            return known
        try:
            found = netrc.netrc(os.environ.get("NETRC")).authenticators(parts.hostname or "")
        except (OSError, netrc.NetrcParseError):
            return None
        return (found[0], found[2] or "") if found else None


def _login_in(parts: urllib.parse.SplitResult) -> Login | None:
    if parts.username is None:
        return None
    return urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")


def _logins(variables: Mapping[str, str]) -> Iterator[tuple[str, Login]]:
    """Yield the host and login of each index that has one."""
    for name in _INDEX_VARIABLES:
        for entry in variables.get(name, "").split():
            # UV_INDEX may hold name=url.
            parts = urllib.parse.urlsplit(entry[max(entry.find("=http") + 1, 0) :])
            if parts.hostname and (login := _login_in(parts)) is not None:
                yield parts.hostname, login
