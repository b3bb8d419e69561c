"""HTTP servers on this machine: one that serves a folder, and one that stops in the middle."""

from __future__ import annotations

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Files", "Standstill", "serving"]


class Files(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing about it."""

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as it is called
        pass


class Standstill(Files):
    """Serves a folder, but never answers a request for what ends in `stops`."""

    stops: tuple[str, ...] = ("",)
    reached: threading.Event
    over: threading.Event

    def send_head(self) -> Any:  # noqa: ANN401 - as it is inherited
        if self.path.endswith(self.stops):
            self.reached.set()
            self.over.wait()
            return None
        return super().send_head()


class serving:  # noqa: N801 - used as a function
    """Serves HTTP on this machine as long as a `with` block lasts; gives the URL."""

    def __init__(self, handler: Callable[..., SimpleHTTPRequestHandler]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
        self.server.daemon_threads = True
        self.server.block_on_close = False

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
