"""Run programs one after the other, and take their figures from the kernel.

A contender is a command that runs as a whole process. The contenders of an experiment take turns,
and the next time the other way round, so that whatever else the machine does meets all of them
alike, and none is always the one that comes after another: memory and caches are as that one left
them. What is prepared before a run (a fresh folder, a copy of a cache) is not timed, and dirty
pages are written to the disk before the clock starts. Nothing is removed until an experiment is
over, and one that makes files begins with a minute's rest: an ext4 without a journal avoids inodes
that were deleted in the last one, or the last six while the disk does not know of it, and making
files becomes several times slower where there were many (`recently_deleted` in fs/ext4/ialloc.c).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["Contender", "FailedRunError", "Run", "Samples", "Task", "compete", "remove"]


class FailedRunError(Exception):
    """A command ended with another exit code than 0; the message has the end of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run to come: a command, and what is there for it alone.

    `output` is the file whose size in bytes counts. With `reports`, the command measures by
    itself: the last line it prints is `{"seconds": ...}` or `{"count": ...}`, or has both.
    `leftovers` are removed when the experiment is over.
    """

    command: Sequence[str | Path]
    environ: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    output: Path | None = None
    reports: bool = False
    leftovers: tuple[Path, ...] = ()


_FORGOTTEN = 61
"""Seconds after which deleted inodes are as good as any."""

Contender = Callable[[int], Task]
"""Prepares a run, untimed, by its number: 0 for the warm-up, then 1, 2, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: seconds by the wall clock and of processor time, and bytes.

    `memory` is the largest resident set of any one process among the command and its children
    (`ru_maxrss`, getrusage(2)); `size` that of the task's output; `count` what the command counted.
    """

    wall: float
    user: float
    system: float
    memory: int
    size: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """The runs of one contender, without the warm-up."""

    runs: tuple[Run, ...]

    @property
    def wall(self) -> float:
        """Return the median of the seconds."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """Return the median of the seconds of processor time."""
        return statistics.median(run.user + run.system for run in self.runs)

    @property
    def memory(self) -> int:
        """Return the most that any run needed, in bytes: a limit must always hold."""
        return max(run.memory for run in self.runs)

    @property
    def size(self) -> int:
        """Return the median size of the output, in bytes."""
        return int(statistics.median(run.size or 0 for run in self.runs))

    @property
    def count(self) -> int:
        """Return the least that any run counted."""
        return min(run.count or 0 for run in self.runs)

    def as_json(self) -> dict[str, object]:
        """Return the runs and their median."""
        return {"median": self.wall, "runs": [asdict(run) for run in self.runs]}


def compete(
    contenders: Mapping[str, Contender],
    *,
    runs: int,
    log: Path,
    say: Callable[[str], None],
    warm_up: bool = True,
) -> dict[str, Samples]:
    """Let contenders take turns; return the runs of each. What they print goes to `log`.

    Raises FailedRunError.
    """
    order = tuple(contenders)
    found: dict[str, list[Run]] = {name: [] for name in order}
    leftovers: list[Path] = []
    try:
        for turn in range(0 if warm_up else 1, runs + 1):
            for name in order if turn % 2 else reversed(order):
                task = contenders[name](turn)
                if task.leftovers and not leftovers:
                    _rest(say)
                leftovers += task.leftovers
                run = _run(task, log)
                label = f"run {turn}" if turn else "warm-up"
                say(f"    {name}, {label}: {run.wall:.3f} s, {run.memory / 1e6:.0f} MB")
                if turn:
                    found[name].append(run)
    finally:
        remove(*leftovers)
    return {name: Samples(tuple(each)) for name, each in found.items()}


def _rest(say: Callable[[str], None]) -> None:
    """Let the disk forget what the last experiment, or what prepared this one, removed."""
    os.sync()
    say("    a minute's rest")
    time.sleep(_FORGOTTEN)


def _run(task: Task, log: Path) -> Run:
    words = [str(word) for word in task.command]
    os.sync()
    run = _timed(words, {**_environ(), **task.environ}, task.cwd or log.parent, log)
    size = task.output.stat().st_size if task.output else None
    found = _reported(log) if task.reports else {}
    return replace(run, size=size, wall=found.get("seconds", run.wall), count=found.get("count"))


def _environ() -> dict[str, str]:
    """Return this process's variables without those that would change what is measured."""
    dropped = ("REESPACK_", "CONDA", "PYTHON", "VIRTUAL_ENV", "SOURCE_DATE_EPOCH")
    return {name: text for name, text in os.environ.items() if not name.startswith(dropped)}


def _timed(words: list[str], environ: dict[str, str], cwd: Path, log: Path) -> Run:
    with log.open("wb") as output:
        actions = [
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
        ]
        # posix_spawn has no working folder, and fork would copy this process: env(1) is small.
        command = ["/usr/bin/env", "--chdir", str(cwd), *words]
        start = time.perf_counter()
        process = os.posix_spawn(command[0], command, environ, file_actions=actions)
        try:
            _, status, usage = os.wait4(process, 0)
        except BaseException:
            os.kill(process, 15)
            raise
        wall = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        said = log.read_text(errors="replace")[-3000:]
        raise FailedRunError(f"exit code {code}: {' '.join(words)}\n{said}")
    return Run(
        wall=wall,
        user=usage.ru_utime,
        system=usage.ru_stime,
        memory=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def _reported(log: Path) -> dict[str, Any]:
    last = log.read_text(errors="replace").strip().rpartition("\n")[2]
    return dict(json.loads(last))


def remove(*paths: Path) -> None:
    """Remove files and trees, those without write permission too; what is not there is no error."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            for folder, _, _ in os.walk(path):
                Path(folder).chmod(0o700)
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
