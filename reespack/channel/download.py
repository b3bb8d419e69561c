"""Bringing wheels here from wherever the index keeps them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import netrc
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from reespack.channel.conda_file import new_file
from reespack.errors import ChannelError, HashMismatchError, ReespackError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reespack.channel.wheels import Wheel
    from reespack.uv import PackageIndex

__all__ = ["Download"]

_TIMEOUT = 60  # seconds without a byte
_ATTEMPTS = 3
_SERVER_ERRORS = 500  # HTTP's status codes from here on may pass
# Not all of OSError: a full disk is no fault of the network's.
_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


class Download:
    """Downloads with an index's certificates, proxy and credentials (its URLs', then netrc's)."""

    def __init__(self, index: PackageIndex) -> None:
        variables = index.variables(os.environ)
        self._logins = dict(_logins(variables))
        context = ssl.create_default_context(cafile=variables.get("SSL_CERT_FILE"))
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
        if index.proxy is not None:
            proxies = {"http": index.proxy, "https": index.proxy}
            handlers.append(urllib.request.ProxyHandler(proxies))
        self._opener = urllib.request.build_opener(*handlers)

    def fetch(self, wheel: Wheel, folder: Path) -> Path:
        """Bring the wheel into the folder, its sha256 checked, and give its path.

        Raises `ChannelError` when it cannot be had, `HashMismatchError` when it is another one.
        """
        target = folder / wheel.sha256[:16] / wheel.file_name
        failure: ReespackError | None = None
        for _ in range(0 if target.exists() else _ATTEMPTS):
            failure = self._attempt(wheel, target)
            if failure is None:
                break
        if failure is not None:
            raise failure
        return target

    def sha256(self, url: str) -> str:
        """Read a file for its sha256, where the index tells none; raises `ChannelError`."""
        digest = hashlib.sha256()
        try:
            with self._open(url) as response:
                while block := response.read(1 << 18):
                    digest.update(block)
        except _NETWORK_ERRORS as error:
            raise _unreachable(url, error) from error
        return digest.hexdigest()

    def _attempt(self, wheel: Wheel, target: Path) -> ReespackError | None:
        """Try once; what went wrong is returned when trying again may help."""
        digest = hashlib.sha256()
        try:
            with self._open(wheel.url) as response, new_file(target) as out:
                while block := response.read(1 << 18):
                    digest.update(block)
                    out.write(block)
        except urllib.error.HTTPError as error:
            if error.code < _SERVER_ERRORS:
                raise _unreachable(wheel.file_name, error) from error
            return _unreachable(wheel.file_name, error)
        except _NETWORK_ERRORS as error:
            return _unreachable(wheel.file_name, error)
        if digest.hexdigest() == wheel.sha256:
            return None
        target.unlink()
        return HashMismatchError(
            f"{wheel.file_name} is not what the index says",
            hint="a mirror or a proxy may hold a broken copy; try again later",
            detail=f"expected sha256 {wheel.sha256}\n     got sha256 {digest.hexdigest()}",
        )

    def _open(self, url: str) -> Any:  # noqa: ANN401 - urllib's own type for an answer
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https", "file"}:
            raise ChannelError(f"cannot download from {parts.scheme}: URLs", detail=url)
        host = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            urllib.parse.urlunsplit(parts._replace(netloc=host, fragment=""))
        )
        if (login := self._login(parts)) is not None:
            token = base64.b64encode(":".join(login).encode()).decode()
            # Unredirected: a mirror that points elsewhere must not hand the password on.
            request.add_unredirected_header("Authorization", f"Basic {token}")
        return self._opener.open(request, timeout=_TIMEOUT)

    def _login(self, parts: urllib.parse.SplitResult) -> tuple[str, str] | None:
        if (own := _credentials(parts)) is not None:
            return own
        if (known := self._logins.get(parts.hostname or "")) is not None:
            return known
        try:
            found = netrc.netrc().authenticators(parts.hostname or "")
        except (OSError, netrc.NetrcParseError):
            return None
        return (found[0], found[2] or "") if found else None


def _credentials(parts: urllib.parse.SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    return urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")


def _logins(variables: Mapping[str, str]) -> list[tuple[str, tuple[str, str]]]:
    """Host and login of each index: uv leaves them out of the URLs that it writes."""
    found: list[tuple[str, tuple[str, str]]] = []
    for name in _INDEX_VARIABLES:
        for entry in variables.get(name, "").split():
            # UV_INDEX may hold name=url.
            start = max(entry.find("=http") + 1, 0)
            parts = urllib.parse.urlsplit(entry[start:])
            if parts.hostname and (login := _credentials(parts)) is not None:
                found.append((parts.hostname, login))
    return found


def _unreachable(what: str, error: Exception) -> ChannelError:
    reason = getattr(error, "reason", None) or error
    return ChannelError(
        f"{what} cannot be downloaded: {reason}",
        hint="check HTTPS_PROXY and SSL_CERT_FILE; what was made so far is kept, so run it again",
    )
