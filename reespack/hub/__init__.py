"""A JupyterHub that hands out environments: for jupyterhub_config.py, in about five lines.

    import reespack.hub
    reespack.hub.configure(c, catalog="/shared/envs/catalog.yml")

or the pieces one by one: `Site` has the form and the hook, `with_reports` a spawner that shows
progress, `register` the handlers for what jobs tell the Hub. See docs/hub.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.catalog import Catalog
from reespack.hub.builds import Builds
from reespack.hub.choice import options_from_form, pass_groups
from reespack.hub.configuring import configure
from reespack.hub.hook import Site
from reespack.hub.spawning import with_reports
from reespack.hub.watching import WatchedCatalog
from reespack.lazy import on_first_use

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

__getattr__ = on_first_use(__name__, {"api": ("register",)})  # it needs JupyterHub
