"""Environments where they run: many at once, killed anywhere, among people of all kinds."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from disks import give_more_room, under_quota

from testbed.killing import REESPACK, Killer, Lab, compile_library, contents
from testbed.small_archive import make_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.products import Archive

TOP = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def lab(archive: Archive, tmp_path: Path) -> Lab:
    return Lab(archive, tmp_path / "store", tmp_path)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("lib")
    for source in ("testbed/kill_at.c", "tests/no_flock.c"):
        compile_library(TOP / source, folder)
    return folder


# --- running -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["python", "sh"])
def test_a_command_runs_activated_with_start_around_it_and_nothing_set(lab: Lab, way: str) -> None:
    command = 'echo "$FROM_START $CONDA_PREFIX"; where; pwd; exit 7'
    store = lab.folder / f"reespack-{os.getuid()}"
    ended = subprocess.run(
        lab.words(way, "sh", "-c", command),
        env={"TMPDIR": str(lab.folder)},
        cwd=lab.folder,
        check=False,
        capture_output=True,
        text=True,
    )
    place = store / lab.environment.name
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.splitlines() == [f"1 {place}", f"{place} 1", str(lab.folder)]
    assert store.stat().st_mode & 0o777 == 0o700
    seen = subprocess.run(
        lab.words(way, "/usr/bin/env"),
        env={"TMPDIR": str(lab.folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert seen.stderr == ""
    assert "LC_CTYPE" not in seen.stdout
    assert "HOME=" not in seen.stdout


@pytest.mark.parametrize("way", ["python", "sh"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE])
def test_signals_reach_the_command(lab: Lab, way: str, number: signal.Signals) -> None:
    code = "trap 'echo caught; exit 3' TERM INT HUP PIPE; echo ready; while :; do sleep 0.05; done"
    process = lab.start(*lab.words(way, "sh", "-c", code))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("caught\n", 3)


@pytest.mark.parametrize(("one", "other"), [("python", "sh"), ("sh", "python")])
def test_what_one_has_unpacked_the_other_uses(lab: Lab, one: str, other: str) -> None:
    assert "(once)" in lab.run(*lab.words(one, "true"))[2]
    before = contents(lab.environment)
    assert lab.run(*lab.words(other, "where")) == (0, f"{lab.environment} 1\n", "")
    assert contents(lab.environment) == before


def test_both_leave_the_same_bytes(lab: Lab) -> None:
    lab.run(*lab.words("python", "true"))
    first = contents(lab.environment)
    assert lab.collect() == []
    lab.run(*lab.words("sh", "true"))
    second = contents(lab.environment)
    # Each says which file it came from.
    for found in (first, second):
        del found["share/reespack/unpacked"]
    assert first == second


# --- many at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("flock", [True, False])
def test_of_sixty_four_at_once_one_unpacks(lab: Lab, libraries: Path, flock: bool) -> None:
    more = {} if flock else {"LD_PRELOAD": str(libraries / "no_flock.so"), "NO_FLOCK": "/"}
    ways = ["python", "sh"] * 32
    processes = [lab.start(*lab.words(way, "where"), **more) for way in ways]
    ended = [process.communicate(timeout=300) for process in processes]
    assert {process.returncode for process in processes} == {0}, ended
    assert {out for out, _ in ended} == {f"{lab.environment} 1\n"}
    assert sum("(once)" in err for _, err in ended) == 1
    for _, err in ended:
        assert err == "" or "waiting" in err or "(once)" in err
    assert lab.collect() == []


# --- killed ------------------------------------------------------------------------------------


@pytest.fixture
def killer(lab: Lab, libraries: Path) -> Killer:
    return Killer(lab, libraries / "kill_at.so", lab.whole())


@pytest.mark.parametrize(("way", "next_way"), [("python", "sh"), ("sh", "python")])
def test_killed_anywhere_while_it_unpacks_the_next_one_recovers(
    killer: Killer, way: str, next_way: str
) -> None:
    problems = list(killer.while_unpacking(way, next_way))
    assert not any(problems), problems
    assert len(problems) > len(killer.whole)  # each file, folder and link takes a call


def test_killed_anywhere_while_it_removes_nothing_half_is_seen(killer: Killer) -> None:
    problems = list(killer.while_removing())
    assert not any(problems), problems
    assert len(problems) >= 30


def test_killed_twice_in_a_row_it_recovers(killer: Killer) -> None:
    problems = list(killer.twice_in_a_row())
    assert not any(problems), problems


# --- in use ------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(lab: Lab, way: str) -> Iterator[subprocess.Popen[str]]:
    process = lab.start(*lab.words(way, "sh", "-c", "echo up; exec sleep 600"))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("way", ["python", "sh"])
def test_what_runs_is_not_removed_and_what_has_ended_is(lab: Lab, way: str) -> None:
    with running(lab, way) as process:
        status, out, _ = lab.run(*REESPACK, "gc")
        assert (status, out) == (0, "nothing to remove\n")
        status, _, err = lab.run(*REESPACK, "uninstall", lab.archive.sha256[:12])
        assert status == 75
        assert f"process {process.pid} on" in err
        assert f'"pid": {process.pid}' in lab.run(*REESPACK, "list", "--json")[1]
        assert contents(lab.environment)
    assert lab.collect() == []


# --- installed ---------------------------------------------------------------------------------


def test_install_list_uninstall(lab: Lab) -> None:
    install_it = (*REESPACK, "install", str(lab.archive.path))
    status, out, err = lab.run(*install_it)
    assert status == 0, err
    kernel = lab.folder / ".local/share/jupyter/kernels/small"
    assert out.split() == ["environment", str(lab.environment), "kernel", str(kernel)]
    assert "once" in err
    status, out, err = lab.run(*install_it, "--name", "Other", "--prefix", str(lab.folder / "p"))
    assert (status, err) == (0, "")
    other = lab.folder / "p/share/jupyter/kernels/other"
    assert other.is_dir()
    listed = lab.run(*REESPACK, "list", "--prefix", str(lab.folder / "p"))[1]
    assert listed.splitlines()[1].split()[:2] == ["small", lab.environment.name]
    assert listed.rstrip().endswith("small, other")
    # An environment that a kernel needs stays, unless it is asked for and can come back.
    assert lab.run(*REESPACK, "gc")[1] == "nothing to remove\n"
    assert "would remove" in lab.run(*REESPACK, "gc", "--older-than", "0s", "--dry-run")[1]
    assert lab.run(*REESPACK, "gc", "--older-than", "1d")[1] == "nothing to remove\n"
    assert lab.run(*REESPACK, "gc", "--keep", "1")[1] == "nothing to remove\n"
    assert lab.run(*REESPACK, "gc", "--keep", "0")[1].startswith("removed ")
    # The kernel unpacks it anew.
    ended = lab.run("/bin/sh", str(kernel / "launch.sh"), "where")
    assert ended[:2] == (0, f"{lab.environment} 1\n")
    status, _, err = lab.run(*REESPACK, "uninstall", "small")
    assert (status, kernel.exists(), lab.environment.exists()) == (0, False, False), err
    assert lab.run(*REESPACK, "uninstall", "small")[0] == 2


def test_somebody_elses_kernel_is_not_replaced(lab: Lab) -> None:
    kernel = lab.folder / ".local/share/jupyter/kernels/small"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text("{}")
    status, _, err = lab.run(*REESPACK, "install", str(lab.archive.path))
    assert status == 2
    assert "is another kernel" in err
    assert (kernel / "kernel.json").read_text() == "{}"


# --- what goes wrong ---------------------------------------------------------------------------


def test_an_archive_that_is_not_what_the_files_beside_it_say(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = make_archive(folder, marks=2)
    shutil.copy(lab.archive.path.with_name("small.manifest.json"), folder)
    # The manifest is found not to be the archive's; the sums are believed, and found out.
    (folder / "SHA256SUMS").write_text(f"{lab.archive.sha256}  small.tar.zst\n")
    status, _, err = lab.run(*REESPACK, "exec", str(other.path), "--", "true")
    assert status == 71
    assert "is not the archive that the files beside it describe" in err
    assert lab.collect() == []
    (folder / "SHA256SUMS").unlink()
    assert lab.run(*REESPACK, "exec", str(other.path), "--", "where")[1].endswith(" 2\n")


def test_an_archive_that_changes_or_goes_under_way(lab: Lab, tmp_path: Path) -> None:
    copy = tmp_path / "small.tar.zst"
    code = """
import sys
from pathlib import Path
import reespack.unpack
from reespack.cli import main

unpack = reespack.unpack.unpack

def disturbed(archive, *arguments, **options):
    unpack(archive, *arguments, **options)
    DEED

reespack.unpack.unpack = disturbed
sys.exit(main())
"""
    for deed, word in (("archive.unlink()", "went away"), ("archive.write_bytes(b'x')", "changed")):
        shutil.copy(lab.archive.path, copy)
        script = code.replace("DEED", deed)
        status, _, err = lab.run(sys.executable, "-c", script, "exec", str(copy), "--", "true")
        assert status == 72, err
        assert f"{word} while it was read" in err
        assert lab.collect() == []


def test_a_damaged_archive(lab: Lab, tmp_path: Path) -> None:
    damaged = bytearray(lab.archive.path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    copy = tmp_path / "small.tar.zst"
    copy.write_bytes(damaged)
    status, _, err = lab.run(*REESPACK, "exec", str(copy), "--", "true")
    assert status in {70, 71}
    assert err.count("\nerror: ") == 1
    assert lab.collect() == []
    script = bytearray(lab.run_script.read_bytes())
    script[-200] ^= 0xFF
    (tmp_path / "x.run.sh").write_bytes(script)
    status, _, err = lab.run("/bin/sh", str(tmp_path / "x.run.sh"), "true")
    assert status == 70
    assert "is damaged or not complete" in err
    assert lab.collect() == []


def test_a_full_disk(lab: Lab) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    lab.store.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=700", "tmpfs", lab.store]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        for way in ("python", "sh"):
            status, _, err = lab.run(*lab.words(way, "true"))
            assert status in {70, 73}, err
            assert "No space left" in err or "room" in err
            assert lab.collect() == []
    finally:
        subprocess.run(["umount", "-l", lab.store], check=True)


@pytest.mark.parametrize("way", ["python", "sh"])
def test_a_quota(tmp_path: Path, way: str) -> None:
    large = make_archive(tmp_path / "dist", marks=100_000)
    lab = Lab(large, tmp_path / "store", tmp_path)
    with under_quota(lab.store, "4M"):
        status, _, err = lab.run(*lab.words(way, "true"))
        assert status in {70, 73}, err
        assert "quota" in err.lower()
        assert lab.collect() == []
        give_more_room(lab.store)
        assert lab.run(*lab.words(way, "true"))[0] == 0


@pytest.mark.parametrize("way", ["python", "sh"])
def test_what_others_may_write_to_is_refused(lab: Lab, way: str) -> None:
    command = lab.words(way, "true")
    lab.store.mkdir()
    lab.store.chmod(0o777)
    status, _, err = lab.run(*command)
    assert status == 74
    assert "others may write to" in err
    lab.store.rmdir()
    (lab.folder / "elsewhere").mkdir(mode=0o700)
    lab.store.symlink_to("elsewhere")
    status, _, err = lab.run(*command)
    assert status == 74
    assert "is a link" in err
    anybody = lab.folder / "anybody"
    anybody.mkdir()
    anybody.chmod(0o777)
    status, _, err = lab.run(*command, REESPACK_STORE=str(anybody / "store"))
    assert status == 74
    assert "anybody may write to" in err
    anybody.chmod(0o1777)
    assert lab.run(*command, REESPACK_STORE=str(anybody / "store"))[0] == 0


@pytest.mark.parametrize("way", ["python", "sh"])
def test_what_somebody_else_has_planted_is_refused(lab: Lab, way: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")
    planted = lab.folder / f"reespack-{os.geteuid()}"
    planted.mkdir(mode=0o755)
    os.chown(planted, NOBODY, NOBODY)
    command = lab.words(way, "true")
    status, _, err = lab.run(*command, REESPACK_STORE="", TMPDIR=str(lab.folder))
    assert status == 74
    assert "belongs to" in err


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can enter."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_another_user_runs_from_a_shared_store_that_it_cannot_change(
    lab: Lab, open_folder: Path
) -> None:
    shared = open_folder / "shared"
    stage = (*REESPACK, "stage", str(lab.archive.path), "--store", str(shared), "--for-all")
    status, out, err = lab.run(*stage)
    place = shared / lab.environment.name
    assert (status, out) == (0, f"{place}\n"), err
    script = open_folder / "small.run.sh"
    shutil.copy(lab.run_script, script)
    process = subprocess.Popen(
        ["/bin/sh", script, "sh", "-c", 'echo "$CONDA_PREFIX"; exec sleep 600'],
        env={"REESPACK_SHARED_STORE": str(shared)},
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{place}\n"
        gc = (*REESPACK, "gc", "--store", str(shared))
        assert lab.run(*gc)[1] == "nothing to remove\n"
    finally:
        process.kill()
        process.communicate()
    assert lab.run(*gc)[1].startswith("removed ")
    # Its owner is not one that everybody trusts.
    lab.run(*stage)
    os.chown(shared, NOBODY, NOBODY)
    more = {"REESPACK_SHARED_STORE": str(shared)}
    status, _, err = lab.run(*lab.words("python", "true"), **more)
    assert status == 74
    assert "is not trusted" in err
    assert lab.run(*lab.words("sh", "true"), **more)[0] == 74
    more["REESPACK_STORE_OWNERS"] = str(NOBODY)
    for way in ("python", "sh"):
        assert lab.run(*lab.words(way, "sh", "-c", 'echo "$CONDA_PREFIX"'), **more) == (
            0,
            f"{place}\n",
            "",
        )


def test_the_lock_of_another_host_is_respected_until_its_heart_stops(lab: Lab) -> None:
    from reespack.installing.lock import Lock
    from reespack.owners import current_owner

    lab.store.mkdir(mode=0o700)
    lock = lab.store / f".{lab.environment.name}.lock"
    other = current_owner()._replace(host="elsewhere", boot="another")
    lock.symlink_to(str(other))
    assert Lock(lock).acquire(wait=False) is False
    process = lab.start(*lab.words("python", "where"))
    time.sleep(1)
    assert process.poll() is None
    assert not lab.environment.exists()
    # Long ago, by the clock of the file system.
    os.utime(lock, (1, 1), follow_symlinks=False)
    out, err = process.communicate(timeout=60)
    assert out == f"{lab.environment} 1\n", err
    assert "process" in err
    assert "elsewhere" in err
