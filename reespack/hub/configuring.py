"""A Hub's configuration in one call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.hub.builds import SUBMIT, Builds
from reespack.hub.choice import options_from_form
from reespack.hub.hook import Site
from reespack.hub.watching import WatchedCatalog

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["configure"]

_POLL = 5.0
_START_TIMEOUT = 600


def configure(  # noqa: PLR0913 - each is a setting
    c: Any,  # noqa: ANN401 - traitlets' Config
    *,
    catalog: str | Path,
    reespack_command: Sequence[str] = (sys.executable, "-m", "reespack"),
    builds: str | Path | None = None,
    build_submit: str | Sequence[str] = "slurm",
    build_options: Sequence[str] = ("--with", "server"),
    build_account: str | None = None,
    poll: float = _POLL,
) -> Site:
    """Have a Hub offer a catalog's environments; call it at the end of jupyterhub_config.py.

    `reespack_command` is how a job calls reespack: by a path that every node can see. `builds` is
    a folder for archives of repositories that the catalog names; without it those are refused.
    `build_submit` is one of `slurm`, `pbs`, `lsf` and `here`, or a command that takes a script on
    stdin and waits until it has run; `build_options` are for `reespack build`; `build_account` is
    whom builds run as, and must be given where the Hub is root. `poll` is in seconds.

    It sets the form, the hook (one that is set already runs before it), the spawner's class (for
    progress on the pending page) and handlers for what jobs tell the Hub, in the place of
    batchspawner's own. It never raises for what is wrong in the catalog.
    """
    from reespack.hub.api import register

    register()
    watched = WatchedCatalog(Path(catalog).absolute())
    watched.refresh()
    watched.watch(seconds=poll)
    submit = SUBMIT[build_submit] if isinstance(build_submit, str) else tuple(build_submit)
    site = Site(
        catalog=watched,
        command=tuple(reespack_command),
        builds=Builds(
            folder=Path(builds).absolute(),
            command=tuple(reespack_command),
            options=tuple(build_options),
            submit=submit,
            account=build_account,
        )
        if builds
        else None,
        before=_set(c.Spawner, "pre_spawn_hook"),
    )
    c.Spawner.pre_spawn_hook = site.pre_spawn_hook
    c.Spawner.options_form = site.options_form
    c.Spawner.options_from_form = options_from_form
    c.Spawner.apply_user_options = _leave_to_hook
    if _set(c.Spawner, "start_timeout") is None:
        c.Spawner.start_timeout = _START_TIMEOUT
    _report_progress(c)
    return site


def _set(section: Any, name: str) -> Any:  # noqa: ANN401 - traitlets' Config, and its values
    """Return what a configuration sets, None when it does not; to ask makes no section."""
    return section[name] if name in section else None  # noqa: SIM401 - get() makes it


def _leave_to_hook(_spawner: object, _options: object) -> None:
    """Apply nothing: the hook validates, and JupyterHub warns of options that nobody takes."""


def _report_progress(c: Any) -> None:  # noqa: ANN401 - traitlets' Config
    from jupyterhub.app import JupyterHub

    from reespack.hub.spawning import with_reports

    given = _set(c.JupyterHub, "spawner_class")
    trait = JupyterHub.class_traits()["spawner_class"]
    # An entry point's name, an import path or a class: the Hub's own trait knows them all.
    base = trait.validate(None, given) if given is not None else _default_spawner()
    c.JupyterHub.spawner_class = with_reports(base)


def _default_spawner() -> type:
    from jupyterhub.spawner import LocalProcessSpawner

    spawner: type = LocalProcessSpawner
    return spawner
