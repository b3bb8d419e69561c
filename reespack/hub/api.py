"""What a job may tell the Hub, with its server's own token: how far it is, and its port.

A job knows the Hub's URL and its own token, and needs nothing else: no shared folder. What it can
do with them is this much: add lines to the pending page of its own server, let that server fail,
and say on which port it will listen; and only while that server is being started.
"""

from __future__ import annotations

import hmac
import json
from typing import Any

from jupyterhub import apihandlers
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError, authenticated

from reespack.hub.refusal import LOG
from reespack.hub.reports import plain, reports_of

__all__ = ["PortHandler", "ReportHandler", "register"]

_LARGEST = 4096
_PORTS = range(1, 65536)


def register() -> None:
    """Add the two handlers to the Hub, in the place of batchspawner's.

    batchspawner 1.3.0 sets whatever attribute of the spawner a job names, `exec_prefix` among them,
    so that a user's server can make the Hub run a command as the Hub's user.
    """
    try:
        import batchspawner.api  # noqa: F401 - it registers its handler when it is imported
    except ImportError:
        LOG.debug("batchspawner is not installed: no guard is needed")
    handlers = apihandlers.default_handlers
    ours = [(r"/api/batchspawner", PortHandler), (r"/api/reespack/report", ReportHandler)]
    paths = {path for path, _ in ours}
    handlers[:] = [one for one in handlers if one[0] not in paths] + ours


class _JobHandler(APIHandler):  # type: ignore[misc] # jupyterhub has no types
    """Finds the spawner whose token the request bears, and the request's body."""

    def check_xsrf_cookie(self) -> None:
        """Ask for no cookie: only a token counts here."""

    def spawner(self) -> Any:  # noqa: ANN401 - any spawner
        """Return the spawner; raise HTTPError when it is none that is being started."""
        token = self.get_auth_token() or ""
        for spawner in self.current_user.spawners.values():
            if token and hmac.compare_digest(spawner.api_token or "", token):
                if not spawner.pending:
                    raise HTTPError(409, "this server is not being started")
                return spawner
        raise HTTPError(403, "only a job may call this, with its server's own token")

    def body(self) -> dict[str, Any]:
        """Return the JSON object in the request; raise HTTPError for anything else."""
        if len(self.request.body) > _LARGEST:
            raise HTTPError(413, "too long")
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise HTTPError(400, "a JSON object is expected")
        return body


class PortHandler(_JobHandler):
    """`{"port": N}`, and nothing else: what batchspawner's handler was meant for."""

    @authenticated
    def post(self) -> None:
        """Take the port that a starting server will listen on."""
        spawner, body = self.spawner(), self.body()
        port = body.get("port")
        if set(body) != {"port"} or type(port) is not int or port not in _PORTS:
            LOG.warning(
                "%s's job tried to set %s; only a port is taken",
                self.current_user.name,
                plain(", ".join(map(repr, body))),
            )
            raise HTTPError(400, "only a port, as a whole number, is taken")
        spawner.port = port
        self.set_status(201)
        self.finish(json.dumps({"message": "BatchSpawner data configured"}))


class ReportHandler(_JobHandler):
    """`{"phase": "unpacking", "percent": 42}`, `{"phase": "starting"}`, and the like."""

    @authenticated
    def post(self) -> None:
        """Put what a job says on its pending page."""
        spawner, body = self.spawner(), self.body()
        reports = reports_of(spawner)
        phase, percent, text = body.get("phase"), body.get("percent"), body.get("text", "")
        if not isinstance(text, str):
            raise HTTPError(400, "`text` must be text")
        if phase == "unpacking" and type(percent) is int and 0 <= percent <= 100:  # noqa: PLR2004
            reports.say(
                f"Unpacking the environment on its node: {percent}%",
                progress=20 + percent * 6 // 10,
            )
        elif phase == "message" and text:
            reports.say(text)
        elif phase == "starting":
            reports.start()
        elif phase == "failed" and text:
            LOG.error("%s's job failed: %s", self.current_user.name, plain(text))
            reports.fail(text)
        else:
            raise HTTPError(400, "no such report")
        self.set_status(204)
        self.finish()
