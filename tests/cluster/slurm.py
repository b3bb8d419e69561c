"""A real Slurm of one node, on loopback, in a folder: no systemd, no cgroups, no other service."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from testbed.waiting import free_port, wait_for

__all__ = ["Slurm", "processes_of"]

NODE = "localhost"  # every machine can resolve it
_STARTS = 3
"""How often the daemons are started: another process may take their port in between."""

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


def processes_of(account: str, *words_wanted: str) -> list[int]:
    """Return an account's processes with these words among their arguments, the oldest first."""
    wanted = set(words_wanted)
    uid = pwd.getpwnam(account).pw_uid
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if not folder.name.isdecimal() or folder.stat().st_uid != uid or words == [""]:
                continue  # nobody's process, somebody else's, or a zombie
            if wanted <= set(words):
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
        self.folder.mkdir(mode=0o755)
        self._start_munge()
        for _ in range(_STARTS):
            for name in ("state", "spool"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
                (self.folder / name).mkdir(mode=0o755)
            self._start_daemons()
            if wait_for(self._state, seconds=90, what="Slurm's node is idle") == "idle":
                return
            self._end("slurmd", "slurmctld")
        raise AssertionError(self._logs())

    def _start_daemons(self) -> None:
        for log in self.folder.glob("*.log"):
            log.unlink()
        conf = self.folder / "slurm.conf"
        conf.write_text(
            CONF.format(
                folder=self.folder,
                host=socket.gethostname().partition(".")[0],
                node=NODE,
                user=pwd.getpwuid(os.geteuid()).pw_name,
                controller_port=free_port(),
                node_port=free_port(),
            )
        )
        self.run("slurmctld", "-f", str(conf))
        self.run("slurmd", "-f", str(conf), "-N", NODE)

    def _state(self) -> str:
        """Return "idle", "ended", or nothing while neither is true."""
        if "fatal:" in self._logs():  # as when another process has taken a port
            return "ended"
        return self.run("sinfo", "-h", "-o", "%T", check=False).strip().replace("idle*", "")

    def _logs(self) -> str:
        logs = self.folder.glob("*.log")
        return "".join(log.read_text(errors="replace") for log in sorted(logs))

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        munge.mkdir(mode=0o755)
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        as_munge: list[str] = []
        if os.geteuid() == 0:  # munged trusts no folder that root does not keep to itself
            subprocess.run(["chown", "-R", "munge", munge], check=True)
            as_munge = ["runuser", "-u", "munge", "--"]
        files = {"key-file": "key", "socket": "socket", "pid-file": "munged.pid", "log-file": "log"}
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
        wait_for(lambda: not self.jobs(), seconds=60, what="no job is left")
        self._end("slurmd", "slurmctld", "munge/munged")

    def _end(self, *names: str) -> None:
        for name in names:
            file = self.folder / f"{name}.pid"
            if not file.exists():
                continue
            pid = int(file.read_text())
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            # Not kill -0: whatever is process 1 here may not reap.
            wait_for(lambda pid=pid: _is_gone(pid), seconds=60, what=f"{name} is gone")


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
