"""squashfs archives that are not unpacked: mounted in a namespace, the mended files on top."""

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

from testbed.killing import REESPACK, Killer, Lab, compile_library
from testbed.small_archive import make_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reespack.products import Archive

TOP = Path(__file__).parents[2]
NOBODY = 65534
NAMESPACE = "readlink /proc/self/ns/mnt"


def why_not(folder: Path) -> str | None:
    """Return why nothing can be mounted here, as programs other than reespack find it."""
    for name in ("squashfuse", "mksquashfs", "unsquashfs", "unshare"):
        if shutil.which(name) is None:
            return f"there is no {name}"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}"
    for name in "abc":
        (folder / name).mkdir()
    new = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    mount = [*new, "mount", "-t", "overlay", "-o", "ro,lowerdir=a:b", "overlay", "c"]
    ended = subprocess.run(mount, cwd=folder, check=False, capture_output=True, text=True)
    return f"no overlay can be mounted: {ended.stderr.strip()}" if ended.returncode else None


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    reason = why_not(tmp_path_factory.mktemp("probe"))
    if reason:
        pytest.skip(reason)
    return make_archive(tmp_path_factory.mktemp("dist"), form="squashfs")


@pytest.fixture
def lab(archive: Archive, tmp_path: Path) -> Lab:
    return Lab(archive, tmp_path / "store", tmp_path)


def place(lab: Lab) -> Path:
    return lab.store / f"{lab.environment.name}-mounted"


def eventually(true: Callable[[], bool]) -> bool:
    """Wait for what comes by itself, and say whether it has come."""
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False


def servers(lab: Lab) -> list[int]:
    """Return the processes that serve the archive."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            if os.fsencode(lab.archive.path) in words and b"squashfuse" in words[0]:
                found.append(int(entry.name))
    return found


def leaves_nothing(lab: Lab) -> None:
    """Require that everything goes by itself, but for what `gc` removes."""
    assert eventually(lambda: not servers(lab))
    assert lab.collect() == []
    assert str(lab.store) not in Path("/proc/self/mounts").read_text()


@contextlib.contextmanager
def running(lab: Lab) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run something from the archive until the end of the context; yield its namespace as well."""
    process = lab.start(*lab.words("python", "sh", "-c", f"{NAMESPACE}; exec sleep 600"))
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# --- what is seen ------------------------------------------------------------------------------


def test_the_environment_is_whole_mended_and_read_only_and_not_unpacked(lab: Lab) -> None:
    tree = (
        'echo "$FROM_START $CONDA_PREFIX"; where; cd "$CONDA_PREFIX"; find . | sort; cat etc/where'
    )
    status, mounted, err = lab.run(*lab.words("python", "sh", "-c", tree))
    environment = place(lab) / "environment"
    assert (status, mounted.splitlines()[:2]) == (0, [f"1 {environment}", f"{environment} 1"]), err
    assert err.count("(once in this store)") == 1
    assert not lab.environment.exists()
    assert {path.name for path in place(lab).iterdir()} == {"layer", "image", "environment"}
    assert not any((place(lab) / "image").iterdir())
    assert not any(environment.iterdir())
    # The next one says nothing, and nothing can be written.
    status, _, err = lab.run(*lab.words("python", "sh", "-c", 'echo x >"$CONDA_PREFIX/x"'))
    assert status != 0
    assert "Read-only file system" in err
    # Unpacked, it is the same tree, and is taken from then on.
    _, unpacked, _ = lab.run(*lab.words("python", "sh", "-c", tree), REESPACK_MOUNT="0")
    assert unpacked == mounted.replace(str(environment), str(lab.environment))
    assert lab.run(*lab.words("python", "sh", "-c", tree))[1] == unpacked
    leaves_nothing(lab)


def test_exec_from_within_finds_itself_there(lab: Lab) -> None:
    nested = " ".join(lab.words("python", "sh", "-c", f"'{NAMESPACE}; where'"))
    status, out, err = lab.run(*lab.words("python", "sh", "-c", f"{NAMESPACE}; {nested}"))
    assert status == 0, err
    first, second, where = out.splitlines()
    assert first == second
    assert where == f"{place(lab) / 'environment'} 1"


@pytest.mark.parametrize(
    ("program", "said"),
    [("None", ""), ("'/bin/false'", "is unpacked"), ("'/bin/cat'", "is unpacked")],
)
def test_without_a_squashfuse_that_works_it_is_unpacked(lab: Lab, program: str, said: str) -> None:
    code = f"""
import sys
import reespack.installing.mounted as mounted
from reespack.cli import main
mounted.find_squashfuse = lambda: {program}
sys.exit(main())
"""
    words = [sys.executable, "-c", code, "exec", str(lab.archive.path), "--", "where"]
    status, out, err = lab.run(*words)
    assert (status, out) == (0, f"{lab.environment} 1\n"), err
    assert said in err
    assert not place(lab).exists() or program == "'/bin/cat'"
    leaves_nothing(lab)


def test_an_image_that_is_not_what_the_files_beside_it_say(lab: Lab) -> None:
    other = make_archive(lab.folder, marks=2, form="squashfs")
    (lab.folder / "SHA256SUMS").write_text(f"{lab.archive.sha256}  {other.path.name}\n")
    status, _, err = lab.run(*REESPACK, "exec", str(other.path), "--", "true")
    assert status == 71
    assert "is not the archive that the files beside it describe" in err
    leaves_nothing(lab)


# --- many, and killed --------------------------------------------------------------------------


def test_of_many_at_once_one_mounts(lab: Lab) -> None:
    gate = lab.folder / "gate"
    script = f"{NAMESPACE}; until [ -e {gate} ]; do sleep 0.2; done"
    processes = [lab.start(*lab.words("python", "sh", "-c", script)) for _ in range(32)]
    first = [process.stdout.readline() for process in processes if process.stdout]
    gate.touch()
    ended = [process.communicate(timeout=120) for process in processes]
    assert {process.returncode for process in processes} == {0}, ended
    assert len(set(first)) == 1
    assert sum("(once in this store)" in err for _, err in ended) == 1
    leaves_nothing(lab)


def test_a_mount_stays_for_whoever_has_joined_and_goes_with_the_last(lab: Lab) -> None:
    gate = lab.folder / "gate"
    with running(lab) as (_, first):
        script = f"{NAMESPACE}; until [ -e {gate} ]; do sleep 0.2; done; where"
        second = lab.start(*lab.words("python", "sh", "-c", script))
        assert second.stdout is not None
        assert second.stdout.readline() == first
        assert len(servers(lab)) == 1
    assert len(servers(lab)) == 1
    gate.touch()
    assert second.communicate(timeout=120)[0] == f"{place(lab) / 'environment'} 1\n"
    leaves_nothing(lab)


def test_what_runs_is_not_removed(lab: Lab) -> None:
    with running(lab) as (process, _):
        assert lab.run(*REESPACK, "gc")[1] == "nothing to remove\n"
        status, _, err = lab.run(*REESPACK, "uninstall", lab.archive.sha256[:12])
        assert status == 75
        assert f"process {process.pid} on" in err
        listed = lab.run(*REESPACK, "list")[1]
        assert listed.splitlines()[1].split()[:2] == ["small", place(lab).name]
    assert lab.run(*REESPACK, "uninstall", lab.archive.sha256[:12])[0] == 0
    assert not place(lab).exists()
    leaves_nothing(lab)


def test_where_squashfuse_was_killed_the_next_one_mounts_anew(lab: Lab) -> None:
    with running(lab) as (_, first):
        (server,) = servers(lab)
        os.kill(server, signal.SIGKILL)
        assert eventually(lambda: not servers(lab))
        with running(lab) as (_, second):
            assert second not in {"", first}
    leaves_nothing(lab)


def test_killed_anywhere_the_next_one_recovers(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    library = compile_library(TOP / "testbed/kill_at.c", tmp_path_factory.mktemp("lib"))
    killer = Killer(lab, library, {})
    environment = place(lab) / "environment"
    at = 0
    while killer.run(at := at + 1, *lab.words("python", "true")):
        status, out, err = lab.run(*lab.words("python", "where"))
        assert (status, out) == (0, f"{environment} 1\n"), (at, err)
        leaves_nothing(lab)
    assert at > 20


# --- other people, other jobs ------------------------------------------------------------------


def test_whoever_comes_from_another_namespace_does_not_join(lab: Lab) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes a mount namespace and nothing else")
    with running(lab) as (_, first):
        words = lab.words("python", "sh", "-c", f"{NAMESPACE}; where")
        status, out, err = lab.run("unshare", "-m", *words)
        assert status == 0, err
        second, where = out.splitlines(keepends=True)
        assert second != first
        assert where == f"{place(lab) / 'environment'} 1\n"
    leaves_nothing(lab)


@pytest.fixture
def groups() -> Iterator[tuple[Path, Path]]:
    """Two control groups, as a batch system makes one for each job."""
    tops = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/pids")]  # version 2, version 1
    top = next((top for top in tops if (top / "cgroup.procs").exists()), None)
    if top is None or not os.access(top, os.W_OK):
        pytest.skip("no control group can be made here")
    made = (top / f"reespack-{os.getpid()}-a", top / f"reespack-{os.getpid()}-b")
    try:
        for group in made:
            group.mkdir()
        yield made
        assert eventually(lambda: not any((one / "cgroup.procs").read_text() for one in made))
    except PermissionError as error:
        pytest.skip(f"no control group can be made here: {error}")
    finally:
        for group in made:
            if group.exists():
                group.rmdir()


def test_a_job_that_is_killed_as_a_whole_takes_nothing_from_another(
    lab: Lab, groups: tuple[Path, Path]
) -> None:
    def job(group: Path, script: str) -> subprocess.Popen[str]:
        enter = f'echo $$ >{group}/cgroup.procs; exec "$@"'
        return lab.start("sh", "-c", enter, "sh", *lab.words("python", "sh", "-c", script))

    gate = lab.folder / "gate"
    first = job(groups[0], f"{NAMESPACE}; exec sleep 600")
    assert first.stdout is not None
    where = first.stdout.readline()
    second = job(groups[1], f"{NAMESPACE}; until [ -e {gate} ]; do sleep 0.1; done; where")
    assert second.stdout is not None
    assert second.stdout.readline() != where
    killed = [int(pid) for pid in (groups[0] / "cgroup.procs").read_text().split()]
    assert set(killed) & set(servers(lab))
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    first.communicate()
    gate.touch()
    assert second.communicate()[0] == f"{place(lab) / 'environment'} 1\n"
    leaves_nothing(lab)


def test_an_account_without_rights_mounts_in_a_user_namespace(lab: Lab) -> None:
    if os.geteuid() != 0:
        pytest.skip("every other test has shown it")
    folder = Path(tempfile.mkdtemp())
    try:
        os.chown(folder, NOBODY, NOBODY)
        archive = shutil.copy(lab.archive.path, folder)
        script = f"""
mount --make-rprivate / && mknod -m 666 {folder}/fuse c 10 229 &&
mount --bind {folder}/fuse /dev/fuse && cd {folder} &&
exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "$@"
"""
        # As the environment's Python does: a shell asks whether it may, and looks no further.
        as_nobody = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        can_run = [*as_nobody, "sh", "-c", 'exec "$@"', "sh", *REESPACK, "--version"]
        if subprocess.run(can_run, check=False).returncode:
            pytest.skip("nobody else can run this Python")
        words = [
            *REESPACK,
            "exec",
            str(archive),
            "--",
            "sh",
            "-c",
            "id -u; where; cat /proc/$$/status",
        ]
        status, out, err = lab.run(
            *("unshare", "-m", "sh", "-c", script, "sh", *words),
            REESPACK_STORE=str(folder / "store"),
            HOME=str(folder),
            PYTHONDONTWRITEBYTECODE="1",
        )
        assert status == 0, err
        environment = folder / "store" / place(lab).name / "environment"
        assert out.splitlines()[:2] == [str(NOBODY), f"{environment} 1"]
        assert "CapEff:\t0000000000000000" in out
    finally:
        shutil.rmtree(folder)
