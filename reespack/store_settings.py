"""The settings of the store of environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reespack.some_settings import load_some_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ORDER", "StoreSettings", "load_store_settings"]

ORDER = ("SLURM_TMPDIR", "TMPDIR", "XDG_CACHE_HOME", "tmp")
"""Where the store goes: the first of these that is there and can be written to."""

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
    values = load_some_settings(_NAMES, environ)
    if store is not None:
        values["store"] = store.absolute()
    return StoreSettings(
        store=values.get("store"),
        order=values.get("store_order", ORDER),
        shared=values.get("shared_store"),
        owners=values.get("store_owners", ()),
        mount=values.get("mount", True),
    )
