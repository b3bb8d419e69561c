"""What comes out: the table for people, and a file with every run for whoever looks closer."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.harness import Samples
    from benchmarks.row import Row

__all__ = ["machine", "table", "write_results"]

RESULTS = Path(__file__).resolve().parent / "results"
_HEADINGS = ("row", "what", "reespack", "against", "figure", "ratio", "reach", "")
_PEERS = ("reespack", "conda-lock", "conda-pack", "py-rattler", "uv", "zstandard")


def table(rows: Sequence[Row]) -> str:
    """Return rows as aligned text, and below it the flaws of those that have some."""
    lines = [_HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    text += [f"{row.name}: {row.flaw}" for row in rows if row.flaw]
    failed = sum(not row.passed for row in rows)
    return "\n".join([*text, "", f"{len(rows) - failed} of {len(rows)} rows pass"])


def machine(folder: Path) -> dict[str, object]:
    """Return what a reader needs to know about where the figures come from."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "file system": _file_system(folder),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "versions": {name: metadata.version(name) for name in _PEERS},
    }


def write_results(
    rows: Sequence[Row], samples: Mapping[str, Mapping[str, Samples]], *, about: dict[str, object]
) -> Path:
    """Write rows and runs to `benchmarks/results/`, named after the time; return the file.

    `about` goes before them.
    """
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    document = {
        **about,
        "command": sys.argv[1:],
        "rows": [row.as_json() for row in rows],
        "experiments": {
            name: {contender: each.as_json() for contender, each in found.items()}
            for name, found in samples.items()
        },
    }
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return target


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds a folder (proc_mounts(5))."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind, *_ = line.split()
        if folder.is_relative_to(mount) and len(mount) > len(best[0]):
            best = (mount, kind)
    return best[1]
