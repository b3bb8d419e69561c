"""A real JupyterHub as its own process, and what drives it: REST, event streams, websockets."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import threading
import uuid
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import websocket

from testbed.waiting import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Client", "Hub", "Spawn"]

_STARTS = 3
"""How often a Hub is started: another process may take its port in between."""


@dataclass
class Spawn:
    """What came of a spawn: the answer, and every event of its stream."""

    answer: requests.Response
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def messages(self) -> list[str]:
        return [str(event.get("message", "")) for event in self.events]

    @property
    def ready(self) -> bool:
        return bool(self.events and self.events[-1].get("ready"))


class Client:
    """Drives a Hub that runs, as a service of its own with a token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"token {token}"
        self.session.trust_env = False

    def api(
        self, method: str, path: str, *, json: object = None, stream: bool = False
    ) -> requests.Response:
        url = f"{self.url}/hub/api{path}"
        return self.session.request(method, url, json=json, stream=stream, timeout=600)

    def spawn(self, user: str, options: dict[str, Any] | None, *, server: str = "") -> Spawn:
        """Ask for a server and follow its events until it runs or has failed."""
        path = self._server_path(user, server)
        answers: list[requests.Response] = []
        body = {} if options is None else {"user_options": options}
        posting = threading.Thread(target=lambda: answers.append(self.api("POST", path, json=body)))
        posting.start()
        events = self.follow(user, server=server, posting=posting)
        posting.join()
        return Spawn(answer=answers[0], events=events)

    def follow(
        self, user: str, *, server: str = "", posting: threading.Thread | None = None
    ) -> list[dict[str, Any]]:
        """Return the events of a spawn that is under way."""
        path = f"{self._server_path(user, server)}/progress"

        def stream() -> list[requests.Response]:
            # Before it is pending, the stream tells of the spawn before.
            over = posting is None or not posting.is_alive()
            if not over and not self.server(user, server).get("pending"):
                return []
            answer = self.api("GET", path, stream=True)
            return [answer] if answer.ok or over else []  # an answer of 400 is not true

        (answer,) = wait_for(stream, seconds=60, what="the spawn has begun")
        if not answer.ok:
            return []
        lines = (line for line in answer.iter_lines(decode_unicode=True) if line)
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]

    def server(self, user: str, server: str = "") -> dict[str, Any]:
        """Return what the Hub says of a server; empty when it does not know it."""
        answer = self.api("GET", f"/users/{user}")
        return dict(answer.json().get("servers", {}).get(server) or {}) if answer.ok else {}

    def stop_server(self, user: str, server: str = "") -> None:
        self.api("DELETE", self._server_path(user, server))
        wait_for(
            lambda: (
                not {"ready", "pending"} & {k for k, v in self.server(user, server).items() if v}
            ),
            seconds=60,
            what=f"{user}'s server is gone",
        )

    def execute(self, user: str, code: str, *, server: str = "", kernel: str = "python3") -> str:
        """Run code in a kernel of a user's server, over its websocket; return what it prints."""
        with self.kernel(user, server=server, kernel=kernel) as execute:
            return execute(code)

    @contextlib.contextmanager
    def kernel(
        self, user: str, *, server: str = "", kernel: str = "python3"
    ) -> Iterator[Callable[[str], str]]:
        """Start a kernel, and yield what runs code in it and returns what that prints."""
        base = f"/user/{user}/{f'{server}/' if server else ''}api/kernels"
        started = self.session.post(f"{self.url}{base}", json={"name": kernel}, timeout=60)
        assert started.status_code == 201, started.text
        channel = websocket.create_connection(
            f"ws{self.url[4:]}{base}/{started.json()['id']}/channels",
            header=[f"Authorization: token {self.token}"],
            timeout=60,
        )
        try:
            yield partial(_executed, channel)
        finally:
            channel.close()
            self.session.delete(f"{self.url}{base}/{started.json()['id']}", timeout=60)

    def _server_path(self, user: str, server: str) -> str:
        return f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"


class Hub(Client):
    """A JupyterHub on loopback, as a process of its own.

    `config` is its configuration, which calls `testbed.loopback`'s `settle_on_loopback` for what
    is put into the environment here. `installed` is what tests/cluster/set-up has filled.
    """

    def __init__(
        self, folder: Path, *, config: Path, installed: Path, environ: dict[str, str]
    ) -> None:
        super().__init__("", secrets.token_hex(16))
        self.folder = folder
        self._command = [str(installed / "venv" / "bin" / "jupyterhub"), "-f", str(config)]
        proxy = installed / "proxy" / "node_modules" / ".bin" / "configurable-http-proxy"
        self._environ = {
            **environ,
            "PATH": f"{installed}/venv/bin:{environ['PATH']}",
            "HUB_FOLDER": str(folder),
            "HUB_TOKEN": self.token,
            "HUB_PROXY": str(proxy),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    def start(self) -> None:
        for _ in range(_STARTS):
            self.url = f"http://127.0.0.1:{free_port()}"
            ports = {name: str(free_port()) for name in ("HUB_PORT", "HUB_PROXY_PORT")}
            self._launch({**self._environ, "HUB_URL": self.url, **ports})
            if wait_for(self._state, seconds=90, what="the Hub answers") == "answers":
                return
            self.stop()
        raise AssertionError(self.log)

    def _launch(self, environ: dict[str, str]) -> None:
        with (self.folder / "hub.log").open("ab") as log:
            self._process = subprocess.Popen(
                # Ctrl-C is ignored by what a background shell starts, and inherited.
                ["env", "--default-signal=INT", *self._command],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _state(self) -> str:
        """Return "answers", "ended", or nothing while neither is true."""
        assert self._process is not None
        if self._process.poll() is not None:
            return "ended"
        with contextlib.suppress(requests.RequestException):
            # Another process may answer there that knows nothing of our token.
            if self.session.get(f"{self.url}/hub/api/users", timeout=2).ok:
                return "answers"
        return ""

    def stop(self) -> None:
        """End the Hub, its proxy, and whatever it started."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        group = self._process.pid
        wait_for(lambda: not _members(group), seconds=30, what="no process of the Hub is left")


def _executed(channel: websocket.WebSocket, code: str) -> str:
    message = uuid.uuid4().hex
    header = {"msg_id": message, "username": "", "session": uuid.uuid4().hex, "date": ""}
    channel.send(
        json.dumps(
            {
                "header": {**header, "msg_type": "execute_request", "version": "5.3"},
                "parent_header": {},
                "metadata": {},
                "channel": "shell",
                "buffers": [],
                "content": {"code": code, "silent": False, "store_history": False},
            }
        )
    )
    output = ""
    while True:
        reply = json.loads(channel.recv())
        if reply["parent_header"].get("msg_id") != message:
            continue
        content = reply["content"]
        assert reply["msg_type"] != "error", content
        output += content.get("text", "") if reply["msg_type"] == "stream" else ""
        if reply["msg_type"] == "status" and content["execution_state"] == "idle":
            return output


def _members(group: int) -> list[int]:
    """Return the processes of a session that are no zombies."""
    found = []
    for entry in os.scandir("/proc"):
        try:
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if entry.name.isdecimal() and int(fields[3]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return found
