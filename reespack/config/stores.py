"""The settings of the store of environments, read without all the others: a start is quick."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ORDER", "StoreSettings", "load_store_settings"]

ORDER = ("SLURM_TMPDIR", "TMPDIR", "XDG_CACHE_HOME", "tmp")
"""Where the store goes: the first of these that is there and can be written to."""

_NAMES = ("store", "store_order", "shared_store", "store_owners")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """`store` is the folder itself, if it is named; `shared` one below it that is only read.

    `order` has names of variables, and `tmp` for a folder in the system's temporary one. `owners`
    are accounts whose stores are trusted, besides root's and one's own.
    """

    store: Path | None = None
    order: tuple[str, ...] = ORDER
    shared: Path | None = None
    owners: tuple[str, ...] = ()


def load_store_settings(
    environ: Mapping[str, str] | None = None, *, store: Path | None = None
) -> StoreSettings:
    """Return what files and variables say of the store; `store`, a flag, goes before them."""
    variables = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for file in _files(variables):
        from reespack.config.settings_file import read_settings

        layer = read_settings(file)
        values.update({name: layer[name][0] for name in _NAMES if name in layer})
    for name in _NAMES:
        variable = f"REESPACK_{name.upper()}"
        if variables.get(variable):
            from reespack.config.settings_file import parse_text

            values[name] = parse_text(name, variables[variable], place=variable)
    if store is not None:
        values["store"] = store.absolute()
    return StoreSettings(
        store=values.get("store"),
        order=values.get("store_order", ORDER),
        shared=values.get("shared_store"),
        owners=values.get("store_owners", ()),
    )


def _files(variables: Mapping[str, str]) -> tuple[Path, ...]:
    from reespack.config import default_site_file, default_user_file

    found = (default_site_file(variables), default_user_file(variables))
    return tuple(file for file in found if file is not None)
