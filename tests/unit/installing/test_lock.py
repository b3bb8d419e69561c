from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from reespack.installing import lock as lock_module
from reespack.installing.lease import close_leases, holders, take_lease
from reespack.installing.lock import Lock
from reespack.owners import Owner, current_owner

if TYPE_CHECKING:
    from pathlib import Path


def ended() -> Owner:
    """Return a process that was, and is not any more."""
    code = "from reespack.owners import current_owner; print(current_owner())"
    text = subprocess.check_output([sys.executable, "-c", code], text=True)
    owner = Owner.parse(text.strip())
    assert owner is not None
    return owner


def elsewhere(**changes: str) -> Owner:
    return current_owner()._replace(**{"host": "other", "boot": "b", **changes})


# --- owners ------------------------------------------------------------------------------------


def test_an_owner_is_its_text() -> None:
    me = current_owner("n")
    assert Owner.parse(str(me)) == me
    assert me != current_owner("n")
    assert Owner.parse("something:else") is None
    assert Owner.parse("a:b:c:d:e:f") is None


def test_a_process_is_dead_when_it_is_gone_or_its_number_is_anothers() -> None:
    me = current_owner()
    assert not me.is_dead(silence=None, patience=0)
    assert ended().is_dead(silence=None, patience=1e9)
    earlier = me._replace(start=str(int(me.start) - 1))
    assert earlier.is_dead(silence=None, patience=1e9)


def test_a_process_that_its_parent_has_not_waited_for_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    stat = f"/proc/{process.pid}/stat"
    while True:
        with open(stat, encoding="ascii") as file:  # noqa: PTH123 - it is no file of ours
            fields = file.read().rpartition(")")[2].split()
        if fields[0] == "Z":
            break
        time.sleep(0.01)
    owner = current_owner()._replace(pid=process.pid, start=fields[19])
    assert owner.is_dead(silence=None, patience=1e9)
    process.wait()


@pytest.mark.parametrize(
    ("changes", "silence", "dead"),
    [
        ({}, None, False),
        ({}, 59.0, False),
        ({}, 61.0, True),
        ({"host": ""}, 11.0, True),
        ({"host": ""}, 9.0, False),
        ({"host": "", "boot": "", "namespace": "1"}, 11.0, False),
        ({"host": "", "boot": "", "namespace": "1"}, 61.0, True),
    ],
    ids=["still", "beats", "silent", "rebooted", "rebooting", "container", "silent container"],
)
def test_what_cannot_be_seen_is_dead_when_its_heart_is_silent(
    changes: dict[str, str], silence: float | None, dead: bool
) -> None:
    me = current_owner()
    own = {name: getattr(me, name) for name, value in changes.items() if not value}
    owner = elsewhere(**{**changes, **own})
    assert owner.is_dead(silence=silence, patience=60) is dead


# --- the lock ----------------------------------------------------------------------------------


def test_of_many_threads_one_has_the_lock(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        lock = Lock(tmp_path / ".x.lock")
        assert lock.acquire()
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        lock.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert list(tmp_path.iterdir()) == []


def test_a_dead_owners_lock_is_taken_whoever_died_while_taking_it(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    for name in ("", ".break", ".break.break"):
        path.with_name(path.name + name).symlink_to(str(ended()))
    lock = Lock(path)
    assert lock.acquire(wait=False)
    lock.tidy()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_changed_hands_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    lock = Lock(path)
    judged = ended()
    path.symlink_to(str(current_owner()))
    lock._break(path, judged)  # noqa: SLF001 - what a slow process does
    assert path.is_symlink()
    assert not path.with_name(".x.lock.break").is_symlink()


def test_waiting_ends_when_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    path.symlink_to(str(current_owner()))
    told: list[Owner | None] = []
    answers = iter([False, False, True])
    assert not Lock(path).acquire(waiting=told.append, unless=lambda: next(answers))
    assert [owner.pid for owner in told if owner] == [os.getpid()]


def test_another_hosts_lock_is_watched_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "WATCH", 0.3)
    path = tmp_path / ".x.lock"
    path.symlink_to(str(elsewhere()))
    assert not Lock(path).acquire(wait=False)
    os.utime(path, (1, 1), follow_symlinks=False)
    beat = path.with_suffix(".beat")
    beat.write_text("now")
    assert not Lock(path).acquire(wait=False)
    os.utime(beat, (1, 1))
    lock = Lock(path)
    assert lock.acquire(wait=False)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_an_owner_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "BEAT", 0.01)
    lock = Lock(tmp_path / ".x.lock")
    lock.acquire()
    while not lock.beat_file.exists():
        time.sleep(0.01)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_lock_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".x.lock").mkdir()
    with pytest.raises(FileExistsError, match="no lock"):
        Lock(tmp_path / ".x.lock").acquire()


# --- leases ------------------------------------------------------------------------------------


def test_a_lease_keeps_its_folder_and_without_the_folder_there_is_none(tmp_path: Path) -> None:
    leases = tmp_path / "leases"
    assert take_lease(leases) is None
    leases.mkdir()
    lease = take_lease(leases)
    assert lease is not None
    assert [owner.pid for owner in close_leases(leases)] == [os.getpid()]
    lease.release()
    (leases / str(ended())).touch()
    (leases / "no lease").touch()
    assert close_leases(leases) == ()
    assert not leases.exists()
    assert take_lease(leases) is None


def test_leases_of_other_hosts_are_respected_while_they_beat(tmp_path: Path) -> None:
    beating, still = elsewhere(mark="h1"), elsewhere(mark="n1")
    for owner in (beating, still):
        (tmp_path / str(owner)).touch()
    assert set(holders(tmp_path)) == {beating, still}
    for owner in (beating, still):
        os.utime(tmp_path / str(owner), (1, 1))
    assert holders(tmp_path) == (still,)


def test_what_is_no_lease_and_cannot_be_removed_keeps_the_folder(tmp_path: Path) -> None:
    (tmp_path / "leases/planted").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        close_leases(tmp_path / "leases")


def test_many_leases_of_the_dead_go(tmp_path: Path) -> None:
    dead = ended()
    for number in range(40):
        (tmp_path / str(dead._replace(mark=f"n{number}"))).touch()
    lease = take_lease(tmp_path)
    assert lease is not None
    assert list(tmp_path.iterdir()) == [lease.path]
