"""A Hub that notices at once that a server has started; for its configuration file."""

from __future__ import annotations

import functools

from jupyterhub import utils

__all__ = ["poll_often"]


def poll_often(*, seconds: float = 0.02) -> None:
    """Have this Hub ask every `seconds` at most whether a server answers.

    JupyterHub waits for a random time between two questions, of up to 5 s in the end
    (`exponential_backoff` in jupyterhub.utils): noise in what is measured, and idle time in tests.
    """
    utils.exponential_backoff = functools.partial(
        utils.exponential_backoff, start_wait=seconds, max_wait=seconds
    )
