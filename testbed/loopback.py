"""What the configuration file of a Hub of `testbed.hub` says: its ports, its folder, its token."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from jupyterhub import utils

__all__ = ["settle_on_loopback"]

_LONGEST_WAIT = 0.02
"""Seconds between two questions whether a server answers."""


def settle_on_loopback(c: Any) -> None:  # noqa: ANN401 - JupyterHub's `get_config()`
    """Set what `testbed.hub.Hub` has put in the variables, and let its token do everything.

    The Hub asks often whether a server answers. JupyterHub waits for a random time between two
    questions, of up to 5 s in the end (`exponential_backoff` in jupyterhub.utils): noise in what
    is measured, and idle time in tests.
    """
    folder = Path(os.environ["HUB_FOLDER"])
    c.JupyterHub.bind_url = os.environ["HUB_URL"]
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ['HUB_PORT']}"
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['HUB_PROXY_PORT']}"
    c.ConfigurableHTTPProxy.command = [os.environ["HUB_PROXY"]]
    c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")
    c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
    c.JupyterHub.cookie_secret_file = str(folder / "cookie_secret")
    c.JupyterHub.services = [{"name": "testbed", "api_token": os.environ["HUB_TOKEN"]}]
    c.JupyterHub.load_roles = [
        {
            "name": "testbed",
            "services": ["testbed"],
            "scopes": ["admin:users", "admin:servers", "access:servers"],
        }
    ]
    utils.exponential_backoff = functools.partial(
        utils.exponential_backoff, start_wait=_LONGEST_WAIT, max_wait=_LONGEST_WAIT
    )
