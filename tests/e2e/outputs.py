"""An output folder that a build which fails, or is interrupted, must leave as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sites import Site

__all__ = ["PLAIN", "Output"]

PLAIN = "dependencies: [python, six]\n"


class Output:
    """An output folder with a good archive in it, which must stay as it is."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.before: object = None

    def refused(
        self,
        exit_code: int,
        source: str | Path,
        *options: str | Path,
        env: dict[str, str] | None = None,
    ) -> str:
        """Build what cannot be built; return what was said."""
        said = self.site.fail(exit_code, "build", source, "-o", self.folder, *options, env=env)
        self.unchanged()
        return said

    def unchanged(self) -> None:
        now = stamps(self.folder)
        if self.before is None:
            self.before = now
        assert now == self.before


def stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what tells a file that was written from one that was not, for all in a folder."""
    found = {path.relative_to(folder).as_posix(): path.lstat() for path in folder.rglob("*")}
    return {name: (one.st_ino, one.st_size, one.st_mtime_ns) for name, one in found.items()}
