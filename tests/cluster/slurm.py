"""A real Slurm of one node, on loopback, in a folder: no systemd, no cgroups, no other service."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

__all__ = ["Slurm", "free_port", "processes_of", "wait_for"]

NODE = "localhost"  # every machine can resolve it, and it is where the servers listen

CONF = """\
ClusterName=reespack
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at the moment."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(condition: Callable[[], T], *, seconds: float, what: str) -> T:
    """Return what `condition` returns as soon as that is true; fail after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


def processes_of(account: str, word: str | None = None) -> list[int]:
    """Return an account's processes, those with `word` among their arguments, the oldest first."""
    uid = pwd.getpwnam(account).pw_uid
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if not folder.name.isdecimal() or folder.stat().st_uid != uid or words == [b""]:
                continue  # nobody's process, somebody else's, or a zombie
            if word is None or word.encode() in words:
                found.append(int(folder.name))
    return sorted(found)


class Slurm:
    """munged, slurmctld and slurmd, as the user who runs this."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }

    def start(self) -> None:
        folder = self.folder
        for name in ("state", "spool", "munge"):
            (folder / name).mkdir(parents=True, mode=0o755)
        self._start_munge()
        (folder / "slurm.conf").write_text(
            CONF.format(
                folder=folder,
                host=socket.gethostname().partition(".")[0],
                node=NODE,
                user=pwd.getpwuid(os.geteuid()).pw_name,
                controller_port=free_port(),
                node_port=free_port(),
            )
        )
        self.run("slurmctld", "-f", f"{folder}/slurm.conf")
        self.run("slurmd", "-f", f"{folder}/slurm.conf", "-N", NODE)
        wait_for(
            lambda: self.run("sinfo", "-h", "-o", "%T", check=False).strip() == "idle",
            seconds=20,
            what="Slurm's node is idle",
        )

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        as_munge: list[str] = []
        if os.geteuid() == 0:  # munged trusts no folder that root does not keep to itself
            subprocess.run(["chown", "-R", "munge", munge], check=True)
            as_munge = ["runuser", "-u", "munge", "--"]
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        options = [f"--{name}={munge / file}" for name, file in files.items()]
        self.run(*as_munge, "munged", *options, f"--seed-file={munge}/seed", "--num-threads=4")

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's programs and return what it prints."""
        program = shutil.which(command[0], path=self.environ["PATH"]) or command[0]
        done = subprocess.run(
            [program, *command[1:]], env=self.environ, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self) -> list[str]:
        """Return `ID STATE NAME USER` of every job that is pending or running."""
        return self.run("squeue", "-h", "-o", "%i %T %j %u").splitlines()

    def stop(self) -> None:
        """End all jobs and the three daemons, and wait until they are gone."""
        for line in self.jobs():
            self.run("scancel", line.split()[0], check=False)
        wait_for(lambda: not self.jobs(), seconds=20, what="no job is left")
        files = [self.folder / name for name in ("slurmd.pid", "slurmctld.pid", "munge/pid")]
        for file in files:
            if not file.exists():
                continue
            pid = int(file.read_text())
            os.kill(pid, 15)
            # Not kill -0: whatever is process 1 here may not reap.
            wait_for(lambda pid=pid: _is_gone(pid), seconds=10, what=f"{file.name} is gone")


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
