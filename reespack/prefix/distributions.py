"""The installed Python distributions of an environment: their metadata folders and RECORDs."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import json
import os
import re
from typing import TYPE_CHECKING

from reespack.files import write_atomic
from reespack.site_packages import site_packages
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "Distribution",
    "distributions",
    "drop_files",
    "drop_foreign_lines",
    "normalized",
    "recorded_digests",
    "replace_direct_url",
]


class Distribution(Value):
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

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return (path, digest) from RECORD: relative to site-packages, `sha256=...` or empty."""
        record = self.metadata / "RECORD"
        if not record.is_file():
            return ()
        rows = csv.reader(io.StringIO(record.read_text(encoding="utf-8")))
        return tuple((row[0], row[1] if len(row) > 1 else "") for row in rows if row)

    def files(self, prefix: Path) -> tuple[str, ...]:
        """Return the paths in RECORD, relative to the prefix."""
        return tuple(_in_prefix(self, path, prefix) for path, _ in self.rows())


def normalized(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(prefix: Path) -> Iterator[Distribution]:
    """Yield every distribution in site-packages, sorted by folder."""
    for folder in site_packages(prefix):
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
    kept = [line for line in lines if next(csv.reader([line]))[0] not in gone]
    if kept != lines:
        write_atomic(record, "".join(kept))


def drop_foreign_lines(distribution: Distribution, prefix: Path) -> None:
    """Remove the lines of a RECORD that lead out of the environment (bytecode kept elsewhere)."""
    record = distribution.metadata / "RECORD"
    rows = distribution.rows()
    foreign = {path for path, _ in rows if _in_prefix(distribution, path, prefix).startswith("../")}
    if foreign:
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if next(csv.reader([line]))[0] not in foreign]
        write_atomic(record, "".join(kept))


def recorded_digests(prefix: Path) -> dict[str, str]:
    """Return the sha256 (in hexadecimal) that RECORDs give for files, by their path in `prefix`."""
    found: dict[str, str] = {}
    for distribution in distributions(prefix):
        for path, digest in distribution.rows():
            algorithm, _, value = digest.partition("=")
            if algorithm == "sha256" and value:
                with contextlib.suppress(ValueError):  # no digest: whoever wrote it made a mistake
                    raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
                    found[_in_prefix(distribution, path, prefix)] = raw.hex()
    return found


def _in_prefix(distribution: Distribution, path: str, prefix: Path) -> str:
    folder = distribution.metadata.parent
    return os.path.relpath(os.path.normpath(folder / path), prefix)


def replace_direct_url(distribution: Distribution, content: dict[str, object]) -> None:
    """Write a distribution's direct_url.json (PEP 610), and its line in RECORD."""
    drop_files(distribution, "direct_url.json")
    text = json.dumps(content, sort_keys=True)
    write_atomic(distribution.metadata / "direct_url.json", text)
    record = distribution.metadata / "RECORD"
    if record.is_file():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        line = f"{distribution.metadata.name}/direct_url.json,sha256={digest.decode()},{len(text)}"
        write_atomic(record, record.read_text(encoding="utf-8") + f"{line}\n")
