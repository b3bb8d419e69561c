from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reespack.errors import ConfigError
from reespack.files import current_umask
from reespack.locks import try_lock
from reespack.store import Cache

CHILD = """
import sys, time
from pathlib import Path
from reespack.store import Cache
cache = Cache(Path(sys.argv[1]))
with {what} as held:
    print(held, flush=True)
    time.sleep(600)
"""


class Listener:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, message: str) -> None:
        self.steps.append(message)

    def detail(self, message: str) -> None:
        pass


def is_held(path: Path) -> bool:
    lock = try_lock(path)
    if lock is not None:
        lock.release()
    return lock is None


def child(cache: Cache, what: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(what=what), str(cache.root)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_looking_things_up_makes_nothing(cache: Cache) -> None:
    assert cache.find_lock("k") is None
    assert not list(cache.find_artifacts("k"))
    assert not cache.root.exists()


def test_parts_are_made_when_asked_for(cache: Cache) -> None:
    names = ("packages", "repodata", "repositories", "builds", "artifacts", "locks")
    for name in names:
        assert getattr(cache, name).is_dir()
        assert getattr(cache, name).parent == cache.root


def test_an_unusable_cache_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        _ = Cache(tmp_path / "file").packages
    assert "REESPACK_CACHE" in (caught.value.hint or "")


def test_a_lock_excludes_and_its_holder_may_die(cache: Cache) -> None:
    holder, _ = child(cache, "cache.lock('x')")
    path = cache.locks / "x"
    assert is_held(path)
    holder.kill()
    holder.communicate()
    with cache.lock("x"):
        assert is_held(path)
    assert not is_held(path)


def test_waiting_is_said(cache: Cache) -> None:
    holder, _ = child(cache, "cache.lock('x')")
    listener = Listener()
    listener.detail = lambda _: holder.kill()  # type: ignore[method-assign]
    with cache.lock("x", progress=listener):
        assert listener.steps == ["Waiting for another reespack to finish with x"]
    holder.communicate()


def test_a_build_folder_is_gone_afterwards(cache: Cache) -> None:
    def interrupted() -> None:
        with cache.build_folder() as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "file").touch()
            (folder / "sub").chmod(0o500)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(cache.builds.iterdir()) == []
    assert [path.name for path in cache.locks.iterdir()] == [".reserve"]


def test_what_a_killed_build_left_goes_and_a_running_one_stays(cache: Cache) -> None:
    killed, left = child(cache, "cache.build_folder()")
    running, used = child(cache, "cache.build_folder()")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left.is_dir()
    with cache.build_folder():
        assert not left.is_dir()
        assert used.is_dir()
    running.kill()
    running.communicate()


def test_a_folder_without_a_lock_is_left_over(cache: Cache) -> None:
    left = cache.builds / "build-left"
    left.mkdir()
    assert cache.sweep() == (left,)
    assert not left.exists()


def test_locks_are_kept(cache: Cache) -> None:
    cache.keep_lock("k", "one")
    cache.keep_lock("k", "two")
    assert cache.find_lock("k") == "two"


def test_artifacts_are_kept_whole_and_read_only(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("archive")
    (tmp_path / "k").mkdir(mode=0o700)
    (tmp_path / "k" / "run").write_text("#!/bin/sh")
    (tmp_path / "k" / "run").chmod(0o700)
    kept = cache.keep_artifact("key", {"archive": tmp_path / "a", "spec": tmp_path / "k"})
    assert list(cache.find_artifacts("key")) == [kept]
    mask = current_umask()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (kept, *kept.rglob("*"))}
    assert modes == {
        "key": 0o777 & ~mask,
        "archive": 0o444 & ~mask,
        "spec": 0o777 & ~mask,
        "run": 0o555 & ~mask,
    }
    (tmp_path / "b").write_text("another")
    cache.keep_artifact("key", {"archive": tmp_path / "b"})
    assert (kept / "archive").read_text() == "archive"
    assert [path.name for path in cache.artifacts.iterdir()] == ["key"]
    cache.discard_artifact("key")
    cache.discard_artifact("another")
    assert not list(cache.artifacts.iterdir())
