"""Kernel mode in a real Jupyter server, with the configuration that docs/hub.md shows."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import subprocess
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import websocket
from lab import build_options, run

from reespack.hub.choice import GROUPS_VARIABLE
from reespack.installing import list_store
from testbed.waiting import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab

pytest.importorskip("jupyter_server")

DOCS = Path(__file__).parents[2] / "docs" / "hub.md"
POST_BUILD = """\
#!/bin/sh
exec python -m ipykernel install --prefix "$CONDA_PREFIX" \\
    --name second --display-name "Python, again" --env SECOND "set by the kernel"
"""
CATALOG = """\
format: 1
title: Kernels
environments:
  duo: {{title: Sea ice, archive: {archive}, variables: {{ICE: "set by the catalog"}}}}
  itself: {{title: Without an archive beside, archive: {run_script}}}
  secret: {{title: For others, archive: {archive}, groups: [ice]}}
  homeless:
    title: No room
    archive: {archive}
    variables: {{REESPACK_STORE: /proc/nowhere/store}}
"""
TITLES = {
    "duo": "Sea ice (Python 3)",
    "duo-second": "Sea ice (Python, again)",
    "itself": "Without an archive beside (Python 3)",
    "itself-second": "Without an archive beside (Python, again)",
    "homeless": "No room (Python 3)",
    "homeless-second": "No room (Python, again)",
}


@pytest.fixture(scope="module")
def duo(lab: Lab, channel: Path) -> Path:
    """Return an archive with two kernels, with its run.sh beside it."""
    repository = lab.folder / "repositories" / "duo"
    repository.mkdir(parents=True)
    (repository / "environment.yml").write_text(
        "channels: [conda-forge]\ndependencies: [python, ipykernel]\n"
    )
    (repository / "postBuild").write_text(POST_BUILD)
    (repository / "postBuild").chmod(0o755)
    printed = run(
        *(lab.builder, "-m", "reespack", "build", str(repository), "--quiet"),
        *("--self-extracting", "-o", str(lab.folder / "duo"), *build_options(channel)),
        environ=lab.environ,
    )
    return Path(printed.split()[0])


@dataclass(frozen=True)
class Server:
    """A Jupyter server, by its API."""

    url: str
    token: str
    store: Path
    log: Path

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        headers = {"Authorization": f"token {self.token}"}
        return requests.request(
            method, f"{self.url}/api/{path}", json=body, headers=headers, timeout=120
        )

    def titles(self) -> dict[str, str]:
        specs = self.ask("GET", "kernelspecs").json()["kernelspecs"]
        return {name: one["spec"]["display_name"] for name, one in specs.items()}

    def start(self, name: str) -> str:
        answer = self.ask("POST", "kernels", {"name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def users(self) -> int:
        return sum(len(kept.users) for kept in list_store(self.store))

    @contextlib.contextmanager
    def connected(self, kernel: str) -> Iterator[Client]:
        url = self.url.replace("http", "ws", 1)
        header = [f"Authorization: token {self.token}"]
        socket = websocket.create_connection(
            f"{url}/api/kernels/{kernel}/channels", header=header, timeout=120
        )
        with contextlib.closing(socket):
            yield Client(socket)


@dataclass(frozen=True)
class Client:
    """A kernel's channels, over the server's websocket."""

    socket: websocket.WebSocket

    def ask(self, code: str) -> str:
        """Have code run, and return the message's id without waiting."""
        message_id = uuid.uuid4().hex
        header = {"msg_id": message_id, "msg_type": "execute_request", "version": "5.3"}
        message = {
            "header": {**header, "username": "", "session": message_id},
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": False},
            "channel": "shell",
            "buffers": [],
        }
        self.socket.send(json.dumps(message))
        return message_id

    def answer(self, asked: str, *, kind: str) -> list[dict[str, Any]]:
        """Return what has come of a message, until one of a kind."""
        found = []
        while True:
            message = json.loads(self.socket.recv())
            if message["parent_header"].get("msg_id") == asked:
                found.append(message)
                if message["msg_type"] == kind:
                    return found

    def value(self, expression: str) -> Any:  # noqa: ANN401 - as JSON has it
        asked = self.ask(f"import json, os, sys; print(json.dumps({expression}))")
        printed = self.answer(asked, kind="stream")[-1]["content"]["text"]
        return json.loads(printed)


@pytest.fixture(scope="module")
def server(lab: Lab, duo: Path) -> Iterator[Server]:
    folder = lab.folder / "kernel-server"
    folder.mkdir()
    catalog = folder / "catalog.yml"
    run_script = duo.with_name(duo.name.replace(".tar.zst", ".run.sh"))
    catalog.write_text(CATALOG.format(archive=duo, run_script=run_script))
    catalog.chmod(0o644)
    documented = re.findall(
        r"^ {4}(c\.\w*KernelSpecManager.*|c\.ServerApp\..*)$", DOCS.read_text(), re.MULTILINE
    )
    lines = "\n".join(["c = get_config()", *documented])
    assert lines.count("/shared/envs") == 2
    lines = lines.replace("/shared/envs/catalog.yml", str(catalog)).replace(
        "/shared/envs", str(folder)
    )
    (folder / "jupyter_server_config.py").write_text(lines)
    port, token = free_port(), secrets.token_hex(16)
    found = Server(f"http://127.0.0.1:{port}", token, folder / "store", folder / "log")
    words = ("-m", "jupyter_server", "--no-browser", "--allow-root", f"--ServerApp.port={port}")
    variables = {
        "JUPYTER_CONFIG_DIR": str(folder),
        "JUPYTER_TOKEN": token,
        "REESPACK_STORE": str(found.store),
        GROUPS_VARIABLE: "other",
        "HOME": str(folder),
    }
    with found.log.open("wb") as log:
        process = subprocess.Popen(
            [lab.given / "venv/bin/python", *words, "--ServerApp.port_retries=0"],
            cwd=folder,
            env={**lab.environ, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def answers() -> bool:
        assert process.poll() is None, found.log.read_text()
        with contextlib.suppress(requests.ConnectionError):
            return found.ask("GET", "status").ok
        return False

    try:
        wait_for(answers, seconds=60, what="the Jupyter server")
        yield found
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()


def test_all_kernels_are_offered_but_not_those_of_other_groups(server: Server) -> None:
    titles = server.titles()
    offered = {name: title for name, title in titles.items() if name.startswith("reespack-")}
    assert offered == {f"reespack-{name}": title for name, title in TITLES.items()}
    assert "python3" in titles
    answer = server.ask("POST", "kernels", {"name": "reespack-secret"})
    assert answer.status_code >= 400
    assert not server.store.exists()


def test_a_kernel_lives_from_its_first_use_to_its_end(server: Server) -> None:
    started: list[str] = []
    starting = threading.Thread(target=lambda: started.append(server.start("reespack-duo-second")))
    starting.start()
    meanwhile = 0
    while starting.is_alive():
        # Not /api/status: that fails for a moment while any kernel is being started.
        assert server.ask("GET", "kernelspecs").ok
        meanwhile += starting.is_alive()
    # The server answers while the archive is unpacked, and its log says what it waits for.
    assert meanwhile > 1
    assert "Sea ice (Python, again): unpacking " in server.log.read_text()
    (kernel,) = started
    with server.connected(kernel) as client:
        assert client.value("sys.prefix").startswith(f"{server.store}/")
        variables = "[os.environ.get(name) for name in ('SECOND', 'ICE')]"
        assert client.value(variables) == ["set by the kernel", "set by the catalog"]
        assert server.users() == 1
        asked = client.ask("import time; mine = 1; print('on', flush=True); time.sleep(600)")
        client.answer(asked, kind="stream")
        assert server.ask("POST", f"kernels/{kernel}/interrupt").status_code == 204
        reply = client.answer(asked, kind="execute_reply")[-1]["content"]
        assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt")
        first = client.value("[os.getpid(), mine]")
    assert server.ask("POST", f"kernels/{kernel}/restart").ok
    with server.connected(kernel) as client:
        second = client.value("[os.getpid(), 'mine' in globals()]")
        assert second == [second[0], False]
        assert second[0] != first[0]
        assert server.users() == 1
    assert server.ask("DELETE", f"kernels/{kernel}").status_code == 204
    wait_for(lambda: server.users() == 0, seconds=30, what="the end of the lease")


@pytest.mark.parametrize(
    ("name", "own"), [("reespack-itself", None), ("reespack-itself-second", "set by the kernel")]
)
def test_a_self_extracting_archive_has_kernels_as_well(
    server: Server, name: str, own: str | None
) -> None:
    kernel = server.start(name)
    with server.connected(kernel) as client:
        assert client.value("sys.prefix").startswith(f"{server.store}/")
        assert client.value("os.environ.get('SECOND')") == own
    assert server.ask("DELETE", f"kernels/{kernel}").status_code == 204
    wait_for(lambda: server.users() == 0, seconds=30, what="the end of the lease")


def test_why_a_kernel_does_not_start_is_said(server: Server) -> None:
    answer = server.ask("POST", "kernels", {"name": "reespack-homeless-second"})
    assert answer.status_code == 500
    assert "/proc/nowhere cannot be made" in answer.json()["message"]
    assert "set REESPACK_STORE to a folder that you may write to" in answer.json()["message"]
