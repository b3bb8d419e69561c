"""Some settings, read without all the others: where there is no settings file this takes no time.

Hundreds of jobs may start at once, and what unpacks an archive asks for no channel.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["load_some_settings", "load_threads"]

_FOLDERS = ("store", "shared_store")


def load_some_settings(
    names: Collection[str], environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what files and variables say of the settings `names`; what they do not say is absent.

    Raises ConfigError as `reespack.config.load_settings` does.
    """
    variables = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    if _may_have_files(variables):
        from reespack.config import default_site_file, default_user_file
        from reespack.config.settings_file import read_settings

        for file in (default_site_file(variables), default_user_file(variables)):
            layer = read_settings(file)
            values.update({name: layer[name][0] for name in names if name in layer})
    for name in names:
        text = variables.get(f"REESPACK_{name.upper()}")
        if text:
            values[name] = _read_variable(name, text)
    return values


def load_threads(flag: int | None) -> int:
    """Return how many threads to use: what the flag `--threads` or the settings say, else cores.

    Raises ConfigError as `reespack.config.load_settings` does.
    """
    if flag is not None:
        from reespack.config.settings_file import parse_text

        parse_text("threads", flag, place="--threads")
        return flag
    from reespack.cores import available_cores

    threads: int | None = load_some_settings(["threads"]).get("threads")
    return threads or available_cores()


def _read_variable(name: str, text: str) -> object:
    """Return what a variable says; one that may be wrong is left to what tells why."""
    if name in _FOLDERS and "~" not in text:
        return Path(os.path.abspath(text))  # noqa: PTH100 - as the settings' own paths
    from reespack.config.settings_file import parse_text

    return parse_text(name, text, place=f"REESPACK_{name.upper()}")


def _may_have_files(variables: Mapping[str, str]) -> bool:
    """Say whether there may be settings files, without what it takes to find and read them."""
    if "REESPACK_CONFIG" in variables and "REESPACK_SITE_CONFIG" in variables:
        return bool(variables["REESPACK_CONFIG"] or variables["REESPACK_SITE_CONFIG"])
    if variables.get("REESPACK_CONFIG") or variables.get("REESPACK_SITE_CONFIG"):
        return True
    folders = [
        "/etc",
        *(variables.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"),
        variables.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"),  # noqa: PTH111
    ]
    return any(os.path.exists(f"{folder}/reespack/reespack.toml") for folder in folders)  # noqa: PTH110
