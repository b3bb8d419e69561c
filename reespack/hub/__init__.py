"""A JupyterHub that hands out environments: for jupyterhub_config.py, in about five lines.

    import reespack.hub
    reespack.hub.configure(c, catalog="/shared/envs/catalog.yml")

or the pieces one by one: `Site` has the form and the hook, `with_reports` a spawner that shows
progress, `register` the handlers for what jobs tell the Hub. See docs/hub.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reespack.catalog import Catalog
from reespack.hub.builds import Builds
from reespack.hub.choice import options_from_form, pass_groups
from reespack.hub.configuring import configure
from reespack.hub.hook import Site
from reespack.hub.spawning import with_reports
from reespack.hub.watching import WatchedCatalog

if TYPE_CHECKING:
    from reespack.hub.api import register

__all__ = [
    "Builds",
    "Catalog",
    "Site",
    "WatchedCatalog",
    "configure",
    "options_from_form",
    "pass_groups",
    "register",
    "with_reports",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    """Import what needs JupyterHub only where it is asked for."""
    if name == "register":
        from reespack.hub.api import register

        return register
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
