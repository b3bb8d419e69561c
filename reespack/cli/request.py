"""What the options say of a repository, as the pipeline takes it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from reespack.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.pipeline import Request

__all__ = ["make_request"]


def make_request(  # noqa: PLR0913 - each is an option
    source: str,
    *,
    ref: str | None = None,
    subdir: str | None = None,
    channels: Sequence[str] | None = None,
    extras: Sequence[str] | None = None,
    allow_empty: bool = False,
) -> Request:
    """Return what the options say of the repository; raise UsageError for an unknown `--with`."""
    from reespack.pipeline import Request

    for extra in extras or ():
        if extra != "server":
            near = difflib.get_close_matches(extra, ["server"])
            raise UsageError(
                f"--with {extra}: there is no such extra",
                hint="did you mean --with server?" if near else "there is only `server`",
            )
    return Request(
        source=source,
        ref=ref,
        subdir=subdir,
        channels=tuple(channels or ()),
        server=bool(extras),
        allow_empty=allow_empty,
    )
