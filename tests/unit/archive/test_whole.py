"""The sum of an archive as a whole: it comes from a fork or a thread, and neither is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_file
from reespack.unpack import whole
from reespack.unpack.whole import required_sum
from testbed.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture(params=["fork", "thread", "afterwards"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    kind: str = request.param
    monkeypatch.setattr(whole, "alone", lambda: kind == "fork")
    return kind


@pytest.fixture
def threads(kind: str) -> int:
    return 1 if kind == "afterwards" else 2


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    archive = tmp_path / "a.tar.zst"
    archive.write_bytes(os.urandom(1_000_000))
    return archive


def children() -> list[str]:
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()


def test_the_right_sum_is_fine_and_another_is_told(archive: Path, threads: int) -> None:
    before = children()
    right = sha256_file(archive)
    with required_sum(archive, right, threads=threads):
        pass
    with (
        pytest.raises(VerificationError, match="files beside it describe") as raised,
        required_sum(archive, "0" * 64, threads=threads),
    ):
        pass
    assert right in (raised.value.detail or "")
    assert children() == before


def test_a_fork_takes_it_where_there_may_be_one(kind: str, archive: Path, threads: int) -> None:
    before = children()
    with required_sum(archive, sha256_file(archive), threads=threads):
        assert (len(children()) > len(before)) == (kind == "fork")
    assert children() == before


def test_an_archive_that_cannot_be_read_is_an_error(tmp_path: Path, threads: int) -> None:
    with (
        pytest.raises(FileNotFoundError, match="missing"),
        required_sum(tmp_path / "missing", "0" * 64, threads=threads),
    ):
        pass


def test_what_goes_wrong_inside_comes_first(archive: Path, threads: int) -> None:
    before = (children(), threading.active_count())
    inside = required_sum(archive, "0" * 64, threads=threads)
    with pytest.raises(KeyError, match="inside"), inside:
        raise KeyError("inside")
    assert (children(), threading.active_count()) == before


def test_it_is_an_error_when_the_fork_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "alone", lambda: True)
    os.mkfifo(tmp_path / "never")  # whoever reads it waits
    before = children()

    def kill_it() -> None:
        (pid,) = set(children()) - set(before)
        os.kill(int(pid), signal.SIGKILL)

    taking = required_sum(tmp_path / "never", "", threads=2)
    with pytest.raises(UnpackError, match="ended too early"), taking:
        kill_it()


_WAIT = """\
import sys, time
from pathlib import Path
from reespack.unpack.whole import required_sum
with required_sum(Path(sys.argv[1]), "", threads=2):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_the_fork_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", _WAIT, pipe]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        with pipe.open("wb", buffering=0) as archive:
            archive.write(b"a piece")
            process.send_signal(signal.SIGKILL)
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                archive.write(b"another, which nobody is there to ask for")
            wait_for(
                lambda: not Path(f"/proc/{pid}/exe").exists(), seconds=30, what="the fork's end"
            )
