"""Waiting for other processes, and ports for them."""

from __future__ import annotations

import random
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

__all__ = ["free_port", "wait_for"]

_BETWEEN = 0.05
_PORTS = range(20_000, 32_000)
"""Below those that Linux gives to whoever asks for any (ip_local_port_range): a port that is free
now is then still free when a server comes to listen on it, unless another one wants just that."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at the moment."""
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with closing(socket.socket()) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                one.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def wait_for(condition: Callable[[], T], *, seconds: float, what: str) -> T:
    """Return what `condition` returns as soon as that is true; fail after some seconds."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(_BETWEEN)
