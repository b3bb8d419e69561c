from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from reespack.store import Cache
from reespack.store.prune import clean, inspect, prune
from reespack.store.use import oldest_lease

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400.0
BLOCKS = 1 << 16

USER = """
import sys, time
from pathlib import Path
from reespack.store import Cache
cache = Cache(Path(sys.argv[1]))
with cache.in_use():
    cache.use(*sys.argv[2:])
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def entry(cache: Cache, name: str, *, days: float, part: str = "packages") -> Path:
    """Make an entry that was used some days ago, and is older than that."""
    folder = cache.root / part / name
    (folder / "info").mkdir(parents=True)
    (folder / "info" / "file").write_bytes(os.urandom(BLOCKS))
    os.utime(folder, (0, 0))
    cache.use(part, name)
    moment = time.time() - days * DAY
    os.utime(cache.root / "used" / part / name, (moment, moment))
    if part == "packages":
        (folder.parent / f"{name}.lock").touch()
        (folder.parent / ".checked").mkdir(exist_ok=True)
        (folder.parent / ".checked" / name).touch()
    return folder


def user(cache: Cache, *used: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(cache.root), *used], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def left(cache: Cache, part: str = "packages") -> list[str]:
    return sorted(p.name for p in (cache.root / part).iterdir() if not p.name.endswith(".checked"))


def test_nothing_is_made_of_a_cache_that_is_not_there(cache: Cache) -> None:
    assert prune(cache, older_than=0).removed == ()
    assert clean(cache).removed == ()
    assert inspect(cache).parts == ()
    assert not cache.root.exists()


def test_what_was_used_lately_stays_whatever_its_own_times(cache: Cache) -> None:
    old, new = entry(cache, "old-1-0", days=31), entry(cache, "new-1-0", days=29)
    pruned = prune(cache, older_than=30 * DAY)
    assert [one.path for one in pruned.removed] == [old]
    assert new.is_dir()
    assert left(cache) == ["new-1-0", "new-1-0.lock"]
    assert left(cache, "packages/.checked") == ["new-1-0"]
    assert left(cache, "used/packages") == ["new-1-0"]
    assert pruned.freed >= BLOCKS


def test_the_longest_unused_go_until_the_rest_fits(cache: Cache) -> None:
    for number, days in ((1, 3), (2, 1), (3, 2), (4, 4)):
        entry(cache, f"p-{number}-0", days=days)
    room = inspect(cache).size * 2 // 4 + 1024
    pruned = prune(cache, max_size=room)
    assert [one.name for one in pruned.removed] == ["p-4-0", "p-1-0"]
    assert inspect(cache).size == pruned.size <= room


def test_a_dry_run_says_the_same_and_does_nothing(cache: Cache) -> None:
    entry(cache, "old-1-0", days=31)
    (cache.builds / "build-left").mkdir()
    before = sorted(cache.root.rglob("*"))
    said = prune(cache, older_than=30 * DAY, dry_run=True)
    assert sorted(cache.root.rglob("*")) == before
    assert said == prune(cache, older_than=30 * DAY)
    assert not (cache.builds / "build-left").exists()


def test_a_file_with_several_names_counts_once(cache: Cache, tmp_path: Path) -> None:
    one, two = entry(cache, "one-1-0", days=2), entry(cache, "two-1-0", days=1)
    single = inspect(cache).size
    os.link(one / "info" / "file", two / "info" / "linked")
    assert inspect(cache).size == single
    # Removing one of two names frees nothing; removing a file that was delivered does not either.
    pruned = prune(cache, older_than=1.5 * DAY)
    assert [entry.name for entry in pruned.removed] == ["one-1-0"]
    assert pruned.freed < BLOCKS
    os.link(two / "info" / "file", tmp_path / "delivered")
    assert BLOCKS <= prune(cache, older_than=0).freed < 2 * BLOCKS


def test_what_a_command_under_way_uses_stays_and_what_it_does_not_goes(cache: Cache) -> None:
    used, unused = entry(cache, "used-1-0", days=40), entry(cache, "unused-1-0", days=40)
    stub = entry(cache, "any", days=40, part="stubs")
    running = user(cache, "packages", "used-1-0")
    assert inspect(cache).users == (f"process {running.pid} on {os.uname().nodename}",)
    pruned = prune(cache, older_than=0, max_size=0)
    assert [one.path for one in pruned.removed] == [unused]
    assert pruned.in_use == 2
    clean(cache)
    assert used.is_dir()
    assert stub.is_dir()
    kill(running)
    assert oldest_lease(cache.root) is None
    clean(cache)
    assert left(cache) == []
    assert left(cache, "stubs") == []


def test_what_is_made_while_a_command_is_under_way_stays(cache: Cache) -> None:
    with cache.in_use():
        made = cache.packages / "made-1-0"
        made.mkdir()
        os.utime(made, (0, 0))
        assert prune(cache, older_than=0, max_size=0).in_use == 1
        assert made.is_dir()
    assert prune(cache, older_than=0, max_size=0).in_use == 0
    assert not made.exists()


def test_without_limits_only_what_was_left_behind_goes(cache: Cache) -> None:
    kept = entry(cache, "kept-1-0", days=4000)
    orphan = cache.root / "used" / "packages" / "gone-1-0"
    orphan.touch()
    (cache.builds / "build-left").mkdir()
    killed = user(cache, "packages", "kept-1-0")
    kill(killed)
    assert prune(cache).removed == ()
    assert kept.is_dir()
    assert not orphan.exists()
    assert left(cache, "builds") == []
    assert left(cache, "leases") == []


def test_refs_go_only_with_everything(cache: Cache) -> None:
    (cache.repositories / "refs").mkdir()
    entry(cache, "c0ffee", days=3, part="repositories")
    prune(cache, max_size=0)
    assert left(cache, "repositories") == ["refs"]
    clean(cache)
    assert left(cache, "repositories") == []


def test_a_cache_marked_as_a_groups_is_the_groups_to_write_to(cache: Cache) -> None:
    cache.root.mkdir()
    cache.root.chmod(0o2775)
    before = os.umask(0o022)
    try:
        with cache.in_use(), cache.open_to_group():
            cache.keep_lock("k", "text")
        modes = {
            path.name: path.stat().st_mode & 0o070
            for path in cache.root.rglob("*")
            if path.name != ".reserve"
        }
        assert set(modes.values()) <= {0o070, 0o060}
        cache.root.chmod(0o755)
        with cache.in_use(), cache.open_to_group():
            cache.keep_lock("m", "text")
        assert (cache.lockfiles / "m.yml").stat().st_mode & 0o777 == 0o644
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
