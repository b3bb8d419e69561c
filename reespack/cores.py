"""How many processor cores this process may use, which on a cluster is not how many there are."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["available_cores"]

_CGROUPS = Path("/sys/fs/cgroup")


def available_cores(*, cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the cores that the scheduler's affinity mask and the control groups' quota leave.

    At least 1; part of a core counts as one. `cgroups` is where control groups are mounted and
    `own` the file that names this process's (cgroups(7)).
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quotas = [quota for quota in (_quota(folder) for folder in _folders(cgroups, own)) if quota]
    return max(1, math.ceil(min([float(cores), *quotas])))


def _folders(cgroups: Path, own: Path) -> list[Path]:
    """Return the folders of the control groups that this process is in, and of those above."""
    found = [cgroups, cgroups / "cpu"]  # in a container, its own group is what is mounted
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        below = Path(path.lstrip("/"))
        found += [root / below, *(root / parent for parent in below.parents)]
    return found


def _quota(group: Path) -> float | None:
    """Return the cores that one group may use: version 2's cpu.max, or version 1's pair."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        return int(quota) / int(period) if quota not in {"max", "-1"} else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
