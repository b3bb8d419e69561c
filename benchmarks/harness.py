"""Run programs one after the other, and take their figures from the kernel.

A contender is a command that runs as a whole process. The contenders of an experiment take turns,
and the next time the other way round, so that whatever else the machine does meets all of them
alike, and none is always the one that comes after another. What is prepared before a run (a fresh
folder, a copy of a cache) is not timed. Before the clock starts, what was written before is on the
disk, and the last run's files are no longer in memory: else memory fills up with them, and later
runs wait for the kernel to clear it. What the next run reads is in memory: a kernel may page out
files that nobody has read for a minute (DAMON, which some virtual machines use), and whom that met
would be chance. Where one may, the kernel also forgets names and inodes that nobody uses: it looks
through lists of them for each file that is made, and they grow long where its tables are small for
their number (a virtual machine's may be: `dmesg | grep "hash table"`). And it puts free memory
together: after an hour of making and dropping files it is in pieces, a program's pages lie far
apart, and so do the entries of the page tables that tell where they are, most of all the host's in
a virtual machine, which has a second set. Before a run that writes files, some memory is used and
given up again: a virtual machine may have given free memory back to its host (free page reporting),
and then has to ask for each page; without this it would be those that the run before did not use,
and whoever writes more than the peer that ran before would pay for all that is more.

No tree is removed until all is over. An ext4 without a journal avoids inodes that were deleted in
the last minute, or the last six where the disk does not know of it; where there are many, making a
file takes several times as long (`recently_deleted` in fs/ext4/ialloc.c). So trees that are no
longer needed are emptied instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["Contender", "FailedRunError", "Run", "Samples", "Task", "compete", "empty", "remove"]


class FailedRunError(Exception):
    """A command ended with another exit code than 0; the message has the end of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run to come: a command, and what is there for it alone.

    `inputs` are the files and trees that it reads; `output` is the file whose size in bytes counts.
    With `reports`, the command measures by itself: the last line it prints is `{"seconds": ...}` or
    `{"count": ...}`, or has both. `leftovers` are emptied when the experiment is over.
    """

    command: Sequence[str | Path]
    environ: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    inputs: tuple[Path, ...] = ()
    output: Path | None = None
    reports: bool = False
    leftovers: tuple[Path, ...] = ()


_AT_ONCE = 1 << 20
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_COMPACT_MEMORY = Path("/proc/sys/vm/compact_memory")
_MEMORY = Path("/proc/meminfo")
_USED = 2 << 30
"""Bytes: more than any tree here."""
_USE = """\
import mmap, sys
size = int(sys.argv[1])
memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for place in range(0, size, mmap.PAGESIZE):
    memory[place] = 1
"""

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
    written: tuple[Path, ...] = ()
    try:
        for turn in range(0 if warm_up else 1, runs + 1):
            for name in order if turn % 2 else reversed(order):
                task = contenders[name](turn)
                leftovers += task.leftovers
                _settle(written)
                written = task.leftovers
                _read(task.inputs)
                _ask_kernel(_COMPACT_MEMORY, "1")
                if task.leftovers:
                    _use_memory()
                run = _run(task, log)
                label = f"run {turn}" if turn else "warm-up"
                say(f"    {name}, {label}: {run.wall:.3f} s, {run.memory / 1e6:.0f} MB")
                if turn:
                    found[name].append(run)
    finally:
        empty(*leftovers)
    return {name: Samples(tuple(each)) for name, each in found.items()}


def _settle(written: Iterable[Path]) -> None:
    """Have everything on the disk, and what the last run wrote nowhere else."""
    os.sync()
    for path, status in _files(written):
        if status.st_nlink == 1:  # what has more names is in a cache, too, and may be read again
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
    if written:
        _ask_kernel(_DROP_CACHES, "2")  # names and inodes


def _ask_kernel(setting: Path, text: str) -> None:
    """Write to a setting in /proc/sys/vm (proc_sys_vm(5)), where there is one and one may."""
    with contextlib.suppress(OSError):
        setting.write_text(text)


def _use_memory() -> None:
    """Have memory in this machine that its host may have taken, without displacing anything."""
    try:
        text = _MEMORY.read_text()
    except OSError:
        return
    (free,) = (int(line.split()[1]) << 10 for line in text.splitlines() if "MemFree:" in line)
    size = min(_USED, free // 2)
    # Another process: the largest resident set of this one would be that of its children, too.
    subprocess.run([sys.executable, "-I", "-S", "-c", _USE, str(size)], check=True)


def _read(paths: Iterable[Path]) -> None:
    """Have everything that is in these files and trees in memory."""
    room = bytearray(_AT_ONCE)
    for path, _ in _files(paths):
        with path.open("rb", buffering=0) as file:
            while file.readinto(room):
                pass


def _run(task: Task, log: Path) -> Run:
    words = [str(word) for word in task.command]
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


def empty(*paths: Path) -> None:
    """Take all content from files and trees, and leave their names.

    A file that has another name elsewhere keeps its content; what is not there is no error.
    """
    names: dict[int, int] = {}
    for path, status in _files(paths):
        if status.st_nlink > 1:
            names[status.st_ino] = names.get(status.st_ino, 0) + 1
        if status.st_size and names.get(status.st_ino, 1) == status.st_nlink:
            path.chmod(0o600)
            os.truncate(path, 0)


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the regular files that there are, in these folders or by these names."""
    for path in paths:
        inside = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        for file in [path] if path.is_file() else inside:
            status = file.lstat()
            if stat.S_ISREG(status.st_mode):
                yield file, status


def remove(*paths: Path) -> None:
    """Remove files and trees, those without write permission too; what is not there is no error."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            for folder, _, _ in os.walk(path):
                Path(folder).chmod(0o700)
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
