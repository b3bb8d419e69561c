from __future__ import annotations

import dataclasses
import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reespack import locks
from reespack.locks import Holder, has_flock, holder_of, local_folder, locked, try_lock

CHILD = """
import fcntl, os, sys, time
from pathlib import Path
if {flock} is None:
    def missing(*_):
        raise OSError(38, "no flock here")
    fcntl.flock = missing
from reespack.locks import try_lock
held = try_lock(Path(sys.argv[1]))
print("held" if held else "not held", flush=True)
time.sleep(600)
"""


def holding(path: Path, *, flock: bool = True) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(flock=0 if flock else None), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def no_flock(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS) -> None:
    def missing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", missing)


def leave(path: Path, **changes: object) -> Holder:
    """Make a lock look as if somebody else had it."""
    held = try_lock(path)
    assert held is not None
    holder = holder_of(path)
    assert holder is not None
    more = {"machine": changes.pop("machine")} if "machine" in changes else {}
    owner = holder.owner._replace(**changes)  # type: ignore[arg-type]
    changed = dataclasses.replace(holder, owner=owner, **more)  # type: ignore[arg-type]
    next(path.iterdir()).rename(path / changed.name())
    held.release()
    assert holder_of(path) == changed
    return changed


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "x")
    assert held is not None
    assert try_lock(tmp_path / "x") is None
    assert str(holder_of(tmp_path / "x")) == f"process {os.getpid()} on {os.uname().nodename}"
    held.release()
    held.release()
    assert list(tmp_path.iterdir()) == []
    assert holder_of(tmp_path / "x") is None


@pytest.mark.parametrize("flock", [True, False])
@pytest.mark.parametrize("flock_here", [True, False])
def test_a_holder_counts_until_it_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: bool, flock_here: bool
) -> None:
    path = tmp_path / "x"
    process = holding(path, flock=flock)
    if not flock_here:
        no_flock(monkeypatch)
    assert try_lock(path) is None
    end(process)
    assert holder_of(path) is not None
    held = try_lock(path)
    assert held is not None
    held.release()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_number_that_went_to_another_process_is_no_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    no_flock(monkeypatch, number)
    path = tmp_path / "x"
    leave(path, pid=os.getppid(), start="12")
    assert try_lock(path) is not None


def test_what_cannot_be_proved_is_not_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_flock(monkeypatch)
    gone = {"pid": 2**22 - 7}
    leave(tmp_path / "elsewhere", **gone, boot="b", machine="m", host="far")
    assert try_lock(tmp_path / "elsewhere") is None
    leave(tmp_path / "container", **gone, namespace="1")
    assert try_lock(tmp_path / "container") is None
    leave(tmp_path / "unknown", **gone, boot="b", machine="")
    assert try_lock(tmp_path / "unknown") is None
    os.utime(next((tmp_path / "unknown").iterdir()), (0, 0))
    assert try_lock(tmp_path / "unknown") is None


def test_what_was_held_before_this_machine_started_again_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_flock(monkeypatch)
    monkeypatch.setattr(locks, "_machine", lambda: "this")
    leave(tmp_path / "x", boot="before")
    assert try_lock(tmp_path / "x") is not None


def test_the_kernel_speaks_for_other_machines_unless_their_locks_are_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path / "x", boot="b", machine="m", host="far")
    monkeypatch.setattr(locks, "_is_flock_local", lambda _: True)
    assert try_lock(tmp_path / "x") is None
    monkeypatch.setattr(locks, "_is_flock_local", lambda _: False)
    assert try_lock(tmp_path / "x") is not None


def test_waiting_says_for_whom_and_ends(tmp_path: Path) -> None:
    process = holding(tmp_path / "x")
    heard: list[Holder | None] = []

    def hear(holder: Holder | None) -> None:
        heard.append(holder)
        end(process)

    with locked(tmp_path / "x", on_wait=hear):
        pass
    assert [holder and holder.owner.pid for holder in heard] == [process.pid]


def count(folder: str, times: int, flock: bool) -> None:
    """Add to a number in a file, which is wrong whenever two do it at once."""
    if not flock:
        with pytest.MonkeyPatch.context() as monkeypatch:
            no_flock(monkeypatch)
            count(folder, times, flock=True)
        return
    number = Path(folder, "number")
    for _ in range(times):
        with locked(Path(folder, "x")):
            number.write_text(str(int(number.read_text()) + 1))


@pytest.mark.parametrize("modes", [(True,) * 4, (False,) * 4, (True, False) * 2])
def test_no_two_hold_a_lock_at_once(tmp_path: Path, modes: tuple[bool, ...]) -> None:
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count, args=(str(tmp_path), 40, mode)) for mode in modes]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * len(modes)
    assert (tmp_path / "number").read_text() == "160"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def take(path: Path, taken: list[object]) -> None:
    taken.append(try_lock(path))


def test_a_dead_holder_is_succeeded_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_flock(monkeypatch)
    for number in range(20):
        path = tmp_path / str(number)
        leave(path, pid=2**22 - 7)
        taken: list[object] = []
        threads = [threading.Thread(target=take, args=(path, taken)) for _ in "1234"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([one for one in taken if one is not None]) == 1


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").touch()
    with pytest.raises(OSError, match="not a lock of reespack's"):
        try_lock(tmp_path / "x")


def test_a_name_says_it_all(tmp_path: Path) -> None:
    holder = leave(tmp_path / "x", host="far")
    assert Holder.from_name(holder.name()) == holder
    assert Holder.from_name("file") is None


def test_where_there_is_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert has_flock(tmp_path)
    folder = local_folder("uv")
    assert folder == tmp_path / f"reespack-{os.getuid()}" / "uv"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    no_flock(monkeypatch)
    assert not has_flock(tmp_path)
    assert local_folder("uv") is None


def test_a_folder_that_another_could_have_prepared_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"reespack-{os.getuid()}").symlink_to(tmp_path / "theirs")
    folder = local_folder("uv")
    assert folder is None or tmp_path not in folder.parents
    assert list((tmp_path / "theirs").iterdir()) == []
