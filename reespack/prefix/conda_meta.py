"""What conda wants to find in an environment: records, history and state in conda-meta."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from reespack.files import write_atomic
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from reespack.model import CondaRequirement

__all__ = ["CondaFile", "conda_files", "records", "write_history", "write_state"]


class CondaFile(Value):
    """A file as its conda package brought it: the package's name and the content's sha256."""

    package: str
    sha256: str | None


def records(prefix: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    """Yield the file and the content of each installed package's record, by name."""
    for file in sorted((prefix / "conda-meta").glob("*.json")):
        yield file, json.loads(file.read_text(encoding="utf-8"))


def conda_files(prefix: Path) -> dict[str, CondaFile]:
    """Return every file that conda's records speak for, by its path in the prefix."""
    found: dict[str, CondaFile] = {}
    for _, record in records(prefix):
        digests = {
            entry["_path"]: entry.get("sha256_in_prefix") or entry.get("sha256")
            for entry in record.get("paths_data", {}).get("paths", ())
        }
        for path in record.get("files", ()):
            found[path] = CondaFile(package=record["name"], sha256=digests.get(path))
    return found


def write_history(prefix: Path, requested: Sequence[CondaRequirement], *, when: int) -> None:
    """Write conda-meta/history, from which conda learns what was asked for.

    The format is conda's (`conda.history`): a dated heading, comments, then a line for each
    package. `when` is in seconds since the epoch; the date stands in UTC.
    """
    moment = dt.datetime.fromtimestamp(when, dt.timezone.utc)
    installed = sorted(
        f"+{record['channel'].rstrip('/')}/{record['subdir']}::"
        f"{record['name']}-{record['version']}-{record['build']}"
        for _, record in records(prefix)
    )
    specs = [re.sub(r"\s+", " ", one.spec.strip()) for one in requested]
    lines = [
        f"==> {moment:%Y-%m-%d %H:%M:%S} <==",
        "# cmd: reespack build",
        *installed,
        *([f"# update specs: {json.dumps(specs)}"] if specs else []),
    ]
    write_atomic(prefix / "conda-meta" / "history", "\n".join(lines) + "\n")


def write_state(prefix: Path, variables: Sequence[tuple[str, str]]) -> None:
    """Write conda-meta/state, whose variables every activation of the environment sets.

    The format is that of `conda env config vars set`.
    """
    if variables:
        state = {"version": 1, "env_vars": dict(variables)}
        write_atomic(prefix / "conda-meta" / "state", json.dumps(state, indent=2) + "\n")
