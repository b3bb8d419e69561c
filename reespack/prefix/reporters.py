"""What rattler's installer says while it works, as tasks of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rattler.install import InstallerReporter

if TYPE_CHECKING:
    from reespack.progress import Advance

__all__ = ["Fetching", "Linking"]


class Fetching(InstallerReporter):
    """Shows how many packages and bytes have come."""

    def __init__(self, *, packages: Advance, received: Advance) -> None:
        self._packages = packages
        self._received = received
        self._done: dict[int, int] = {}
        self._sizes: dict[int, int] = {}

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:  # noqa: ARG002
        """Give a package that is being fetched its token."""
        return operation

    def on_populate_cache_complete(self, cache_entry: int) -> None:  # noqa: ARG002
        """Count a package."""
        self._packages(1)

    def on_download_start(self, cache_entry: int) -> int:
        """Give a download its token."""
        return cache_entry

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:
        """Count bytes; `progress` is all that came of this package."""
        more = progress - self._done.get(download_idx, 0)
        self._done[download_idx] = progress
        if total is not None:
            self._sizes[download_idx] = total
        self._received(more, total=sum(self._sizes.values()) or None)


class Linking(InstallerReporter):
    """Shows how many packages are in place, and keeps whose post-link scripts failed."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._scripts: list[str] = []
        self.failed: list[str] = []

    def on_link_complete(self, index: int) -> None:  # noqa: ARG002
        """Count a package."""
        self._advance(1)

    def on_post_link_start(self, package_name: str, script_path: str) -> int:  # noqa: ARG002
        """Remember whose script it is."""
        self._scripts.append(package_name)
        return len(self._scripts) - 1

    def on_post_link_complete(self, index: int, success: bool) -> None:
        """Keep the names of those that fail."""
        if not success:
            self.failed.append(self._scripts[index])
