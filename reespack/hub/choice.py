"""Which environment a user asked for, and whether it is one that the user may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reespack.hub.refusal import refusal
from reespack.hub.reports import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reespack.catalog import Catalog, Entry

__all__ = ["GROUPS_VARIABLE", "OPTION", "choose", "groups_of", "options_from_form", "pass_groups"]

OPTION = "environment"
"""The one key of `user_options`."""


GROUPS_VARIABLE = "REESPACK_HUB_GROUPS"
"""The Hub's groups of a server's user, between commas."""


def options_from_form(form: Mapping[str, list[str]]) -> dict[str, str]:
    """Return what a submitted form says, and nothing that it might say besides."""
    values = form.get(OPTION) or []
    return {OPTION: values[0]} if values else {}


def groups_of(spawner: Any) -> frozenset[str]:  # noqa: ANN401 - any spawner
    """Return the names of the Hub's groups that a spawner's user is in."""
    return frozenset(group.name for group in spawner.user.groups)


def pass_groups(spawner: Any) -> None:  # noqa: ANN401 - any spawner
    """Tell a server its user's groups: a pre_spawn_hook for a Hub that offers kernels only."""
    groups = ",".join(sorted(groups_of(spawner)))
    spawner.environment = {**spawner.environment, GROUPS_VARIABLE: groups}


def choose(catalog: Catalog, options: Mapping[str, object], groups: frozenset[str]) -> Entry:
    """Return the entry that `user_options` name, by default the catalog's.

    Raises an error for the user when there is no such entry, or none for this user (which of the
    two is not told), or when the options hold anything else.
    """
    options = _unwrapped(options)
    others = [plain(str(key), longest=40) for key in options if key != OPTION]
    if others:
        raise refusal(
            f"{', '.join(others[:5])}: there is no such option.",
            hint=f"Only `{OPTION}` can be chosen.",
            reason="options",
        )
    allowed = catalog.allowed(groups)
    if not allowed:
        raise refusal(
            "There is no environment that you may use yet.",
            hint="Ask your site's help desk.",
            reason="none",
            status=403,
        )
    asked = options.get(OPTION) or None
    entry = next((one for one in allowed if one.name == asked), None)
    entry = catalog.default_of(allowed) if asked is None else entry
    if entry is None:
        names = ", ".join(one.name for one in allowed)
        raise refusal(
            f"There is no environment {plain(str(asked), longest=60)!r} that you may use.",
            hint=f"Choose one of: {names}.",
            reason="environment",
            status=403,
        )
    return entry


def _unwrapped(options: Mapping[str, object]) -> Mapping[str, object]:
    """Return what is in `{"user_options": ...}`: JupyterHub 5 takes REST's whole body for it."""
    inner = options.get("user_options")
    return inner if len(options) == 1 and isinstance(inner, dict) else options
