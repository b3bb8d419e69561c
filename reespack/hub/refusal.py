"""Errors that reach the user on every page of a Hub, with what to do next."""

from __future__ import annotations

import html
import logging

__all__ = ["LOG", "refusal"]

LOG = logging.getLogger("JupyterHub.reespack")
"""A child of the Hub's own logger: its lines stand in the Hub's log."""


def refusal(
    message: str, *, hint: str = "", reason: str, status: int = 400, detail: str = ""
) -> Exception:
    """Return what a spawn ends with: `message` and `hint` for the user, `detail` for the log.

    It is a SpawnException where JupyterHub has one (6), else an HTTPError (5). REST, the form, the
    pending page and its event stream each look at another of the attributes that are set here.
    `reason` is one word, for the Hub's metrics.
    """
    text = f"{message} {hint}".strip()
    page = f"<strong>{html.escape(message)}</strong> {html.escape(hint)}".strip()
    if detail:  # not in the error: JupyterHub 5 shows users what is meant for its log
        LOG.error("%s [%s]", text, detail)
    error = _make(text, page, reason, status)
    for name, value in (("jupyterhub_message", text), ("jupyterhub_html_message", page)):
        setattr(error, name, value)
    return error


def _make(text: str, page: str, reason: str, status: int) -> Exception:
    try:
        from jupyterhub.spawner import SpawnException
    except ImportError:  # JupyterHub 5
        from tornado.web import HTTPError

        error: Exception = HTTPError(status, text.replace("%", "%%"), reason=_one_line(text))
        return error
    failure: Exception = SpawnException(text, reason=reason, message_html=page, status_code=status)
    return failure


def _one_line(text: str) -> str:
    """Return what may stand in the status line of an answer."""
    plain = "".join(letter if " " <= letter <= "~" else " " for letter in text)
    return " ".join(plain.split())[:200]
