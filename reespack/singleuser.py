"""What a JupyterHub's job runs: the environment comes to its node, and the server starts in it.

The Hub is told how far that is, with the server's own token; so all that a node needs is the
archive, and a way to the Hub that the server needs anyhow. The environment needs no batchspawner.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from reespack.errors import ReespackError, UnpackError, UsageError
from reespack.post import post_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from reespack.installing import Installation
    from reespack.progress import Unit

__all__ = ["run_server"]

_TIMEOUT = 10
"""Seconds that one call of the Hub may take."""
_TRIES = 5
_BETWEEN = 0.5
"""Seconds between two reports: a pending page is read by a person."""


def run_server(archive: Path, command: Sequence[str], *, choose_port: bool) -> NoReturn:
    """Install an archive if need be and become `command` in it, reporting to the Hub.

    With `choose_port`, a free port is told to batchspawner on the Hub, and to the server by way of
    JUPYTERHUB_SERVICE_URL. Raises UsageError outside of a Hub's job; what else goes wrong is told
    to the Hub, too.
    """
    from reespack.installing import become, open_environment, open_stores
    from reespack.store_settings import load_store_settings

    hub = _Hub()
    try:
        settings = load_store_settings()
        installation = open_environment(
            archive,
            stores=open_stores(settings),
            mount=settings.mount,
            progress=_Reporter(hub),
        )
        _require_command(installation, command[0])
        hub.report(phase="starting")
        if choose_port:
            _agree_on_port(hub)
        become(installation, command)
    except ReespackError as error:
        hub.report(phase="failed", text=f"{error.message}. {error.hint or ''}".strip())
        raise
    except OSError as error:
        hub.report(phase="failed", text=str(error))
        raise


def _require_command(installation: Installation, name: str) -> None:
    if not shutil.which(name, path=str(installation.path / "bin")):
        raise UnpackError(
            f"the environment has no {name}",
            hint="whoever built it should build it again, --with server",
        )


def _agree_on_port(hub: _Hub) -> None:
    """Tell the Hub where the server will listen, as batchspawner-singleuser does."""
    url = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    if not url.hostname:
        raise UsageError("JUPYTERHUB_SERVICE_URL is not set: this is no job of a JupyterHub's")
    port = _free_port()
    hub.require("batchspawner", {"port": port})
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    os.environ["JUPYTERHUB_SERVICE_URL"] = urlunsplit(url._replace(netloc=f"{host}:{port}"))


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


class _Hub:
    """The Hub's API, as a job may use it."""

    def __init__(self) -> None:
        self._url = os.environ.get("JUPYTERHUB_API_URL", "").rstrip("/")
        self._token = os.environ.get("JUPYTERHUB_API_TOKEN", "")
        if not self._url or not self._token:
            raise UsageError(
                "JUPYTERHUB_API_URL and JUPYTERHUB_API_TOKEN are not set",
                hint="`reespack singleuser` runs in a JupyterHub's job; see `reespack exec`",
            )

    def report(self, **report: object) -> None:
        """Tell the Hub something; that it does not hear it is no reason to stop."""
        self._problem("reespack/report", report)

    def require(self, path: str, body: dict[str, Any]) -> None:
        """Tell the Hub something that it must hear; raise UnpackError when it does not."""
        problem = None
        for number in range(_TRIES):
            time.sleep(number)
            problem = self._problem(path, body)
            if problem is None:
                return
        raise UnpackError(
            f"the Hub at {self._url} cannot be told the server's port: {problem}",
            hint="it must be reachable from the node",
        )

    def _problem(self, path: str, body: dict[str, Any]) -> str | None:
        try:
            post_json(f"{self._url}/{path}", body, token=self._token, timeout=_TIMEOUT)
        except (OSError, ValueError) as error:  # ValueError: the URL is none
            return str(error) or type(error).__name__
        return None


class _Reporter:
    """Passes on what an installation says. It is a `reespack.progress.Progress`.

    A thread sends, so that a slow Hub does not slow unpacking down.
    """

    def __init__(self, hub: _Hub) -> None:
        self._hub = hub

    def step(self, message: str) -> None:
        """Pass a line on, but for one that the percentage says better, and without paths."""
        if not message.startswith("unpacking "):
            self._hub.report(phase="message", text=message)

    def detail(self, message: str) -> None:
        """Say nothing: nobody asked for details."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Pass a warning on."""
        self._hub.report(phase="message", text=f"{message}. {hint or ''}".strip())

    def output(self, line: str) -> None:
        """Say nothing: a job has its output file."""

    @contextlib.contextmanager
    def task(
        self,
        label: str,
        *,
        total: int | None = None,
        unit: Unit = "items",
    ) -> Iterator[_Percent]:
        """Report how far unpacking is."""
        percent = _Percent(total if unit == "bytes" else None)
        if percent.total is None:
            self._hub.report(phase="message", text=label)
        stop = threading.Event()
        sender = threading.Thread(target=self._send, args=(percent, stop), daemon=True)
        sender.start()
        try:
            yield percent
        finally:
            stop.set()
            sender.join()

    def _send(self, percent: _Percent, stop: threading.Event) -> None:
        sent = -1
        while True:
            now = percent.value
            if now is not None and now != sent:
                self._hub.report(phase="unpacking", percent=now)
                sent = now
            if stop.wait(_BETWEEN):
                return


class _Percent:
    """How much of a task is done. It is a `reespack.progress.Advance`."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self._done = 0

    def __call__(self, amount: int, /, *, total: int | None = None) -> None:
        """Move on."""
        self._done += amount
        self.total = total if total is not None else self.total

    @property
    def value(self) -> int | None:
        """Return the percentage; None when it is not known."""
        return min(100, 100 * self._done // self.total) if self.total else None
