"""conda's records of what is in a prefix: `conda-meta/*.json`, one for each package.

Their form is conda's PrefixRecord (conda.models.records), which rattler writes, too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reespack.errors import PackError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["parse_record", "read_records"]


def read_records(prefix: Path, *, required: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return all records, by the names of their files.

    Raises PackError for one that is unreadable, or has not all of the `required` fields.
    """
    records = []
    for file in sorted((prefix / "conda-meta").glob("*.json")):
        name = f"conda-meta/{file.name}"
        try:
            content = file.read_bytes()
        except OSError as error:
            raise PackError(f"{name} cannot be read: {error.strerror}") from error
        record = parse_record(content, name)
        if missing := [field for field in required if field not in record]:
            raise PackError(f"{name} cannot be read: it has no {missing[0]}")
        records.append(record)
    return records


def parse_record(content: bytes, name: str) -> dict[str, Any]:
    """Return a record, or another of conda's JSON objects; raise PackError for what is none."""
    try:
        record = json.loads(content)
    except ValueError as error:
        raise PackError(f"{name} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise PackError(f"{name} is no package record")
    return record
