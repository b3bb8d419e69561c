"""The pieces that jupyterhub_config.py puts together: form, choice and hook of one site."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from reespack.hub.builds import Builds, built_archive
from reespack.hub.cards import Cards
from reespack.hub.choice import OPTION, choose, groups_of
from reespack.hub.form import render_form
from reespack.hub.preparing import prepare
from reespack.hub.refusal import refusal
from reespack.hub.reports import Reports, reports_of
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reespack.catalog import Entry
    from reespack.hub.watching import WatchedCatalog

__all__ = ["Site"]


class Site(Value):
    """What a Hub offers, and how its jobs get it.

    `command` is how a job calls reespack; `before` is a hook of the site's own, run first.
    """

    catalog: WatchedCatalog
    command: tuple[str, ...]
    builds: Builds | None = None
    before: Callable[[Any], Any] | None = None
    cards: Cards = Cards()

    def __deepcopy__(self, _memo: object) -> Site:
        """Return itself: traitlets copies settings, and with a method what it is bound to."""
        return self

    async def pre_spawn_hook(self, spawner: Any) -> None:  # noqa: ANN401 - any spawner
        """Prepare a spawner for what its user chose, or raise an error that the user can read.

        Whatever takes time is waited for off the Hub's loop.
        """
        reports = reports_of(spawner, anew=True)
        if self.before is not None:
            done = self.before(spawner)
            await done if inspect.isawaitable(done) else None
        catalog = await self.catalog.current()
        entry = choose(catalog, spawner.user_options, groups_of(spawner))
        archive = await self._archive(entry, reports)
        prepare(spawner, entry, archive, command=self.command)
        reports.say(f"Starting {entry.title}", progress=8)

    async def options_form(self, spawner: Any) -> str:  # noqa: ANN401 - any spawner
        """Return the form with what the spawner's user may choose."""
        catalog = await self.catalog.current()
        entries = catalog.allowed(groups_of(spawner))
        cards = await asyncio.to_thread(self._cards, entries)
        last = (spawner.orm_spawner.user_options or {}).get(OPTION) if spawner.orm_spawner else None
        chosen = next((one for one in entries if one.name == last), catalog.default_of(entries))
        return render_form(
            cards,
            title=catalog.title,
            chosen=chosen.name if chosen else None,
            problem=self.catalog.problem if _is_for_admin(spawner) else None,
        )

    def _cards(self, entries: tuple[Entry, ...]) -> Any:  # noqa: ANN401 - as Cards.make
        return self.cards.make((entry, self._known_archive(entry)) for entry in entries)

    def _known_archive(self, entry: Entry) -> Path | None:
        if entry.source is None:
            return entry.archive
        return built_archive(self.builds.target(entry)) if self.builds else None

    async def _archive(self, entry: Entry, reports: Reports) -> Path:
        if entry.archive is not None:
            if await asyncio.to_thread(entry.archive.is_file):
                return entry.archive
            problem = f"{entry.archive} is not there"
        elif self.builds is not None:
            return await self.builds.archive(entry, reports)
        else:
            problem = "reespack.hub.configure was given no folder for builds"
        raise refusal(
            f"The environment {entry.title!r} is not available at the moment.",
            hint="Choose another one, or tell your site's help desk.",
            reason="archive",
            status=503,
            detail=problem,
        )


def _is_for_admin(spawner: Any) -> bool:  # noqa: ANN401 - any spawner
    """Whether it is an admin who looks at the form, maybe for somebody else."""
    handler = getattr(spawner, "handler", None)
    viewer = getattr(handler, "current_user", None) or spawner.user
    return bool(getattr(viewer, "admin", False))
