"""What rattler's installer says while it works, as tasks of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rattler.install import InstallerReporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from reespack.progress import Progress

__all__ = ["Installing"]


class Installing(InstallerReporter):
    """Shows what is fetched and what is in place, and keeps whose post-link scripts failed.

    Of the packages in `missing`, each is passed to `fetched` when it has come and was checked.
    The tasks end with `tasks`; those for fetching are shown only when something is.
    """

    def __init__(
        self,
        *,
        tasks: ExitStack,
        progress: Progress,
        packages: int,
        missing: frozenset[str],
        fetched: Callable[[str], None],
    ) -> None:
        self._missing = missing
        self._fetched = fetched
        self._operations: dict[int, str] = {}
        self._done: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._scripts: list[str] = []
        self.failed: list[str] = []
        if missing:
            self._count_fetched = tasks.enter_context(
                progress.task("fetching conda packages", total=len(missing))
            )
            self._count_bytes = tasks.enter_context(progress.task("downloading", unit="bytes"))
        self._count_linked = tasks.enter_context(
            progress.task("installing conda packages", total=packages)
        )

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        """Remember whose turn it is; also those that are there already come by here."""
        self._operations[operation] = package_name
        return operation

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        """Count a package that has come; a failed one does not get here."""
        name = self._operations[cache_entry]
        if name in self._missing:
            self._fetched(name)
            self._count_fetched(1)

    def on_download_start(self, cache_entry: int) -> int:
        """Give a download its token."""
        return cache_entry

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:
        """Count bytes; `progress` is all that came of this package."""
        more = progress - self._done.get(download_idx, 0)
        self._done[download_idx] = progress
        if total is not None:
            self._sizes[download_idx] = total
        self._count_bytes(more, total=sum(self._sizes.values()) or None)

    def on_link_complete(self, index: int) -> None:  # noqa: ARG002
        """Count a package."""
        self._count_linked(1)

    def on_post_link_start(self, package_name: str, script_path: str) -> int:  # noqa: ARG002
        """Remember whose script it is."""
        self._scripts.append(package_name)
        return len(self._scripts) - 1

    def on_post_link_complete(self, index: int, success: bool) -> None:
        """Keep the names of those that fail."""
        if not success:
            self.failed.append(self._scripts[index])
