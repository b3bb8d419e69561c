from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from reespack.post import post_json

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(BaseHTTPRequestHandler):
    seen: tuple[str, str | None, object] | None = None

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen = (self.path, self.headers["Authorization"], body)
        self.send_response(403 if self.path.endswith("/no") else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_object_arrives_with_the_token(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    post_json(f"{url}/hub/api/x", {"text": "Größe"}, token="secret", timeout=5)  # noqa: S106
    assert _Handler.seen == ("/hub/api/x", "token secret", {"text": "Größe"})


def test_a_refusal_is_an_error(url: str) -> None:
    with pytest.raises(OSError, match="HTTP 403 Forbidden"):
        post_json(f"{url}/no", {}, token="", timeout=5)


def test_nobody_answers() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ConnectionRefusedError):
            post_json(f"http://127.0.0.1:{one.getsockname()[1]}/", {}, token="", timeout=5)


def test_somebody_else_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail.example.org\r\n")
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(OSError, match="no HTTP server"):
            post_json(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, token="", timeout=5)
        thread.join()
