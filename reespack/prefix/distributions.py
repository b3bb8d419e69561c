"""The installed Python distributions of an environment: their metadata folders and RECORDs."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reespack.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "Distribution",
    "distributions",
    "drop_files",
    "normalized",
    "site_packages",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An installed distribution: its normalized name, and its `*.dist-info` folder or kin."""

    name: str
    metadata: Path

    @property
    def direct_url(self) -> dict[str, object]:
        """Return what PEP 610's direct_url.json says; empty without one."""
        file = self.metadata / "direct_url.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def files(self) -> tuple[str, ...]:
        """Return the paths in RECORD, relative to site-packages as they stand there."""
        record = self.metadata / "RECORD"
        if not record.is_file():
            return ()
        rows = csv.reader(io.StringIO(record.read_text(encoding="utf-8")))
        return tuple(row[0] for row in rows if row)


def normalized(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def site_packages(prefix: Path) -> Path | None:
    """Return the environment's site-packages folder; None without a Python."""
    found = sorted((prefix / "lib").glob("python3.*/site-packages"))
    return found[0] if found else None


def distributions(prefix: Path) -> Iterator[Distribution]:
    """Yield every distribution in site-packages, sorted by folder."""
    folder = site_packages(prefix)
    if folder is None:
        return
    for metadata in sorted(folder.iterdir()):
        if metadata.suffix in {".dist-info", ".egg-info"}:
            yield Distribution(name=normalized(metadata.stem.split("-")[0]), metadata=metadata)


def drop_files(distribution: Distribution, *names: str) -> None:
    """Remove files of a distribution's metadata, and their lines in RECORD."""
    gone = {f"{distribution.metadata.name}/{name}" for name in names}
    for name in names:
        (distribution.metadata / name).unlink(missing_ok=True)
    record = distribution.metadata / "RECORD"
    if not record.is_file():
        return
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.split(",", 1)[0].strip('"') not in gone]
    if kept != lines:
        write_atomic(record, "".join(kept))
