"""The settings of the store of environments, read without all the others.

Hundreds of jobs may start at once, and where there is no settings file this takes no time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ORDER", "StoreSettings", "load_store_settings"]

ORDER = ("SLURM_TMPDIR", "TMPDIR", "XDG_CACHE_HOME", "tmp")
"""Where the store goes: the first of these that is there and can be written to."""

_FOLDERS = ("store", "shared_store")
_NAMES = ("store", "store_order", "shared_store", "store_owners", "mount")


class StoreSettings(NamedTuple):
    """`store` is the folder itself, if it is named; `shared` one below it that is only read.

    `order` has names of variables, and `tmp` for a folder in the system's temporary one. `owners`
    are accounts whose stores are trusted, besides root's and one's own. `mount` lets squashfs
    archives be mounted instead of unpacked.
    """

    store: Path | None = None
    order: tuple[str, ...] = ORDER
    shared: Path | None = None
    owners: tuple[str, ...] = ()
    mount: bool = True


def load_store_settings(
    environ: Mapping[str, str] | None = None, *, store: Path | None = None
) -> StoreSettings:
    """Return what files and variables say of the store; `store`, a flag, goes before them.

    Raises ConfigError as `reespack.config.load_settings` does.
    """
    variables = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    if _may_have_files(variables):
        from reespack.config import default_site_file, default_user_file
        from reespack.config.settings_file import read_settings

        for file in (default_site_file(variables), default_user_file(variables)):
            layer = read_settings(file)
            values.update({name: layer[name][0] for name in _NAMES if name in layer})
    for name in _NAMES:
        text = variables.get(f"REESPACK_{name.upper()}")
        if text:
            values[name] = _read_variable(name, text)
    if store is not None:
        values["store"] = store.absolute()
    return StoreSettings(
        store=values.get("store"),
        order=values.get("store_order", ORDER),
        shared=values.get("shared_store"),
        owners=values.get("store_owners", ()),
        mount=values.get("mount", True),
    )


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
