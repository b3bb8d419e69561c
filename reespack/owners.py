"""Who holds something in a folder that several processes, users and hosts may share.

An owner is written down as `HOST:BOOT:NAMESPACE:PID:START:MARK`: the host's name, the kernel's boot
id, the pid namespace, the process, the moment it started (in clock ticks since the boot, proc(5)),
and what tells the holds of one process apart. That makes a text that means one process for ever,
however often its number comes round. The shell scripts of `reespack.kernelspec.scripts` write the
same.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Owner", "current_owner"]

REBOOTED = 10.0
"""Seconds that the heart of a host's earlier life must be silent: its name may not be unique."""

_FIELDS = 6
_START = 22
_numbers = itertools.count()


class Owner(NamedTuple):
    """A process, and what tells its holds apart; no dataclass, since those take long to import."""

    host: str
    boot: str
    namespace: str
    pid: int
    start: str
    mark: str

    def __str__(self) -> str:
        """Return the text that means this process and no other."""
        fields = (self.host, self.boot, self.namespace, str(self.pid), self.start, self.mark)
        return ":".join(fields)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Return the owner that a text names; None when it names none."""
        fields = text.split(":")
        if len(fields) != _FIELDS or not fields[3].isdecimal():
            return None
        host, boot, namespace, pid, start, mark = fields
        return cls(host=host, boot=boot, namespace=namespace, pid=int(pid), start=start, mark=mark)

    @property
    def is_visible(self) -> bool:
        """Whether this process could see that one: same kernel, same pid namespace."""
        me = _this_process(os.getpid())
        return (self.boot, self.namespace) == (me.boot, me.namespace)

    def is_dead(self, *, silence: float | None, patience: float) -> bool:
        """Say whether the process is gone for certain.

        Where it could be seen, its number and start time prove it. Elsewhere its heart tells:
        `silence` is for how many seconds it has not beaten (by the clock of the file system), None
        when it does not beat at all; after `patience` seconds it is taken for dead, after a few
        when its host has been started anew since.
        """
        if self.is_visible:
            return not _is_running(self.pid, self.start)
        if silence is None:
            return False
        rebooted = self.host == _this_process(os.getpid()).host and not self._same_boot
        return silence > (min(REBOOTED, patience) if rebooted else patience)

    @property
    def _same_boot(self) -> bool:
        return self.boot == _this_process(os.getpid()).boot


def current_owner(prefix: str = "") -> Owner:
    """Return this process with a mark of its own, which begins with `prefix`."""
    mark = f"{prefix}{next(_numbers)}-{os.urandom(3).hex()}"
    return _this_process(os.getpid())._replace(mark=mark)


@functools.cache
def _this_process(pid: int) -> Owner:
    """Return this process; by its number, since a fork has another."""
    status = _status(pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - no file
    except OSError:
        boot = namespace = "-"
    return Owner(
        host=re.sub(r"[^A-Za-z0-9._-]", "_", os.uname().nodename) or "-",
        boot=boot,
        namespace=namespace,
        pid=pid,
        start=status[1] if status else "-",
        mark="",
    )


def _is_running(pid: int, start: str) -> bool:
    status = _status(pid)
    if status is None:
        # A /proc may hide the processes of others (hidepid); a signal finds them all the same.
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _status(pid) is not None or not Path("/proc/self/stat").exists()
    state, started = status
    return state not in {"Z", "X"} and (start in {"-", started})


def _status(pid: int) -> tuple[str, str] | None:
    """Return the state of a process and when it started; None when it cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[_START - 3]
