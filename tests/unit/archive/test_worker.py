"""The processes that write files: what they are, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reespack.unpack import worker
from testbed.waiting import wait_for

_TWO = """\
import sys, threading, time
from reespack.unpack.worker import start
if sys.argv[1] == "new":
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
first = start()
second = start([first])
print(first.pid, second.pid, flush=True)
time.sleep(60)
"""


def test_there_is_no_fork_beside_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a fork"))
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        process = worker.start()
        process.tell(b"not a task\n")
        with pytest.raises(EOFError):
            process.answers()
        process.end()
    finally:
        done.set()
        thread.join()


def test_it_may_be_gone_already() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = worker.start()
        os.kill(process.pid or 0, signal.SIGKILL)
        _wait_until_gone(process.pid or 0)
        process.end()
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("kind", ["forks", "new"])
def test_none_outlives_who_started_it(kind: str) -> None:
    command = [sys.executable, "-c", _TWO, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert [_is_fork(pid, process.pid) for pid in workers] == [kind == "forks"] * 2
        process.send_signal(signal.SIGKILL)
    _wait_until_gone(*workers)


def _is_fork(pid: int, of: int) -> bool:
    lines = [Path(f"/proc/{one}/cmdline").read_bytes() for one in (pid, of)]
    return lines[0] == lines[1]


def _wait_until_gone(*pids: int) -> None:
    wait_for(lambda: not any(map(_runs, pids)), seconds=30, what="the end of the workers")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_signal_ends_it_without_a_word() -> None:
    command = [sys.executable, "-c", _TWO, "forks"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stderr
        workers = [int(pid) for pid in process.stdout.readline().split()]
        for pid in workers:
            os.kill(pid, signal.SIGINT)
        _wait_until_gone(*workers)
        process.kill()
        assert process.stderr.read() == ""
