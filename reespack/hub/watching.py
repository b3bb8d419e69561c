"""The catalog as it is now, or as it last was when it could be read."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from reespack.catalog import Catalog, read_catalog
from reespack.errors import CatalogError
from reespack.hub.refusal import LOG

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WatchedCatalog"]

_PATIENCE = 2.0
"""Seconds that a page waits for a file system before it takes what is known already."""


class WatchedCatalog:
    """A catalog that is read again when its file changes; an error keeps the last good one.

    `problem` is why the file as it is now cannot be used; None: it can.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._catalog = Catalog(path=path, title="", default=None, entries=())
        self._seen: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        self.problem: str | None = None

    @property
    def latest(self) -> Catalog:
        """The last good one, without a look at the file; empty before there was any."""
        return self._catalog

    async def current(self) -> Catalog:
        """Return the catalog as the file is now; the Hub's loop does not wait for the disk."""
        try:
            await asyncio.wait_for(asyncio.to_thread(self.refresh), _PATIENCE)
        except (asyncio.TimeoutError, TimeoutError):  # two classes before Python 3.11
            LOG.warning("%s cannot be read in time; the last good catalog is used", self._path)
        return self._catalog

    def refresh(self) -> None:
        """Read the file if it has changed; whatever is wrong is logged once, and kept."""
        with self._lock:
            seen = self._look()
            if seen == self._seen:
                return
            try:
                self._catalog = read_catalog(self._path)
            except CatalogError as error:
                self.problem = f"{error.message}. {error.hint or ''}".strip()
                LOG.error("the catalog cannot be used, the last good one stays: %s", self.problem)
            except Exception as error:  # noqa: BLE001 - a Hub outlives what nobody thought of
                self.problem = f"{self._path}: {type(error).__name__}: {error}"
                LOG.exception("the catalog cannot be used, the last good one stays")
            else:
                self.problem = None
                LOG.info("%s: %d environments", self._path, len(self._catalog.entries))
            self._seen = seen

    def watch(self, *, seconds: float) -> None:
        """Look at the file now and then for as long as the Hub lives, so that its log tells all."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(seconds):
                self.refresh()

        threading.Thread(target=run, name="reespack-catalog", daemon=True).start()

    def _look(self) -> tuple[int, ...]:
        """Return what changes with the file: networked file systems announce nothing."""
        try:
            status = self._path.stat()
        except OSError as error:
            return (-1, error.errno or 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
