from __future__ import annotations

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from packaging.utils import parse_wheel_filename

from reespack.channel.download import Download
from reespack.channel.wheels import Wheel
from reespack.errors import ChannelError, HashMismatchError
from reespack.package_index import PackageIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "thing-1.0-py3-none-any.whl"
CONTENT = b"not really a wheel" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def wheel(url: str, sha256: str = SHA256) -> Wheel:
    _, _, _, tags = parse_wheel_filename(NAME)
    return Wheel(name="thing", version="1.0", url=f"{url}/{NAME}", sha256=sha256, tags=tags)


class Server(ThreadingHTTPServer):
    """Answers with these status codes in turn, then with the file; asks for a login if told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.codes: list[int] = []
        self.login: str | None = None
        self.content = CONTENT
        self.asked = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        code = self.server.codes.pop(0) if self.server.codes else 200
        if self.server.login is not None:
            expected = base64.b64encode(self.server.login.encode()).decode()
            if self.headers["Authorization"] != f"Basic {expected}":
                code = 401
        self.send_response(code)
        self.end_headers()
        if code == 200:
            self.wfile.write(self.server.content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NETRC", "/dev/null")
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_wheel_comes_once(server: Server, tmp_path: Path) -> None:
    download = Download(PackageIndex())
    one = wheel(f"http://{server.address}")
    path = download.fetch(one, tmp_path)
    assert path.name == NAME
    assert path.read_bytes() == CONTENT
    assert download.fetch(one, tmp_path) == path
    assert server.asked == 1
    assert download.sha256(one.url) == SHA256


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.codes = [503, 500]
    assert Download(PackageIndex()).fetch(wheel(f"http://{server.address}"), tmp_path).exists()
    assert server.asked == 3


@pytest.mark.parametrize(("codes", "asked"), [([404], 1), ([500, 500, 500], 3)])
def test_what_cannot_be_had_is_named(
    server: Server, tmp_path: Path, codes: list[int], asked: int
) -> None:
    server.codes = codes
    with pytest.raises(ChannelError, match="thing-1"):
        Download(PackageIndex()).fetch(wheel(f"http://{server.address}"), tmp_path)
    assert server.asked == asked
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_another_content_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>"
    with pytest.raises(HashMismatchError) as caught:
        Download(PackageIndex()).fetch(wheel(f"http://{server.address}"), tmp_path)
    assert SHA256 in (caught.value.detail or "")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("place", ["url", "index", "variable", "netrc"])
def test_credentials_are_found(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    server.login = "me:p@ss"
    with_login = f"http://me:p%40ss@{server.address}"
    index = PackageIndex(index_url=f"{with_login}/simple" if place == "index" else None)
    if place == "variable":
        monkeypatch.setenv("UV_INDEX", f"other=https://example.org/ mine={with_login}/simple")
    if place == "netrc":
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password p@ss\n")
        (tmp_path / ".netrc").chmod(0o600)
    url = with_login if place == "url" else f"http://{server.address}"
    assert Download(index).fetch(wheel(url), tmp_path / "wheels").read_bytes() == CONTENT


def test_a_local_wheel_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    found = Download(PackageIndex()).fetch(wheel(tmp_path.as_uri()), tmp_path / "wheels")
    assert found.read_bytes() == CONTENT


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match="ftp"):
        Download(PackageIndex()).fetch(wheel("ftp://example.org"), tmp_path)
