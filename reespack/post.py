"""One HTTP request that sends JSON, without what urllib imports for the rest of HTTP."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

__all__ = ["post_json"]

_LONGEST = 1 << 16
_SUCCESS = range(200, 300)


def post_json(url: str, body: Mapping[str, object], *, token: str, timeout: float) -> None:
    """Send a JSON object to a JupyterHub's API; `timeout` is in seconds, for each wait.

    No proxy is asked: that is for the world outside, and the Hub talks to the server without one,
    too. urllib and the system's certificates cost 40 ms of each server's start, so there is no
    urllib here, and certificates are loaded for https alone. Raises OSError when nobody answers, or
    with anything but success.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    content = json.dumps(body).encode()
    head = (
        f"POST {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        f"Authorization: token {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    request = "\r\n".join((*head, "", "")).encode("ascii") + content
    place = (host, parts.port or (443 if secure else 80))
    with socket.create_connection(place, timeout=timeout) as plain:
        if not secure:
            _exchange(plain, request)
            return
        with _certificates().wrap_socket(plain, server_hostname=host) as encrypted:
            _exchange(encrypted, request)


def _exchange(connection: socket.socket, request: bytes) -> None:
    """Send a request; raise OSError unless the answer begins with success (RFC 9112, 4)."""
    connection.sendall(request)
    with connection.makefile("rb") as answer:
        line = answer.readline(_LONGEST).decode("latin-1").strip()
    version, _, status = line.partition(" ")
    code = status[:3]
    if not version.startswith("HTTP/1.") or not code.isdecimal():
        raise OSError("no HTTP server answers there")
    if int(code) not in _SUCCESS:
        raise OSError(f"HTTP {status}")


def _certificates() -> ssl.SSLContext:
    """Return what JupyterHub's internal_ssl gives a server, or the system's own."""
    import ssl

    names = ("JUPYTERHUB_SSL_CLIENT_CA", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_KEYFILE")
    authority, certificate, key = (os.environ.get(name) for name in names)
    context = ssl.create_default_context(cafile=authority or None)
    if certificate and key:
        context.load_cert_chain(certificate, key)
    return context
