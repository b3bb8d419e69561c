"""Kernels start from a moved environment and from a packed one, with nothing but a shell."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import pytest
from kernels import kernel, value_of

from reespack.files import sha256_file
from reespack.kernelspec import add_kernelspecs, write_launcher_kernelspec
from reespack.model import EnvironmentSpec, Repository
from reespack.products import Archive, PlatformLock, Prefix

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.products import Kernelspec

START = """#!/bin/bash
export FROM_START="$NB_PYTHON_PREFIX and $REPO_DIR"
exec "$@"
"""
# What conda-unpack does is the packer's business; here it leaves a trace, and takes its time.
CONDA_UNPACK = """#!/usr/bin/env python
import os, sys, time
time.sleep(float(os.environ.get("TEST_UNPACK_SECONDS", "0")))
with open(sys.prefix + "/mended", "a") as file:
    file.write(sys.argv[sys.argv.index("--prefix") + 1] + "\\n")
"""


@pytest.fixture(scope="module")
def built(
    wheelhouse: Path, python_version: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Kernelspec]:
    """An environment with kernelspecs, in another folder than the one it was made in."""
    top = tmp_path_factory.mktemp("kernelspec")
    prefix = top / "build"
    asyncio.run(_install(wheelhouse, prefix, python_version))
    scripts = prefix / "etc" / "conda" / "activate.d"
    scripts.mkdir(parents=True)
    (scripts / "a.sh").write_text('export FROM_SCRIPT="$CONDA_PREFIX $FROM_FILE"\nfalse\n')
    (scripts / "b.sh").write_text("local_array=(a b)\nexport FROM_BASH=${local_array[1]}\n")
    variables = prefix / "etc" / "conda" / "env_vars.d"
    variables.mkdir(parents=True)
    (variables / "x.json").write_text(json.dumps({"FROM_FILE": f"{prefix}/share"}))
    (prefix / "bin" / "conda-unpack").write_text(CONDA_UNPACK)
    (prefix / "bin" / "conda-unpack").chmod(0o755)
    repository = top / "repo"
    repository.mkdir()
    (repository / "start").write_text(START)
    spec = EnvironmentSpec(
        name="My Demo",
        platform="linux-64",
        channels=(),
        variables=(("FROM_SPEC", "it's $HOME"), ("PYTHONPATH", "/from/spec")),
        start="start",
    )
    kernels = add_kernelspecs(
        Prefix(path=prefix, lock=PlatformLock(platform="linux-64", conda=())),
        spec,
        repository=Repository(root=repository, top=repository, name="demo", source="."),
    )
    assert str(prefix) not in "".join(
        file.read_text() for file in (prefix / "share/jupyter/kernels").glob("*/*.[js][sh]*")
    )
    moved = top / "moved here"
    prefix.rename(moved)
    return moved, kernels[0]


async def _install(wheelhouse: Path, prefix: Path, python: str) -> None:
    from rattler import Channel, VirtualPackage, install, solve

    records = await solve(
        [Channel(wheelhouse.as_uri())],
        [f"python={python}", "ipykernel"],
        platforms=["linux-64", "noarch"],
        virtual_packages=VirtualPackage.detect(),
    )
    await install(records, prefix, show_progress=False)


# --- inside ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my-demo", "python3"])
def test_a_kernel_starts_from_a_moved_environment(
    built: tuple[Path, Kernelspec], tmp_path: Path, name: str
) -> None:
    prefix, _ = built
    env = {
        "PATH": "",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/elsewhere",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    with kernel(prefix / "share/jupyter/kernels", name, cwd=tmp_path, env=env) as (_, client):
        assert value_of(client, "sys.prefix") == str(prefix)
        assert value_of(client, "os.getcwd()") == str(tmp_path)
        variables = value_of(client, "dict(os.environ)")
        assert value_of(client, "os.path.dirname(sys.executable)") == f"{prefix}/bin"
    assert variables["FROM_SPEC"] == "it's $HOME"
    assert variables["FROM_FILE"] == f"{prefix}/share"
    assert variables["FROM_SCRIPT"] == f"{prefix} {prefix}/share"
    assert variables["FROM_BASH"] == "b"
    assert variables["FROM_START"] == f"{prefix} and {tmp_path}"
    assert variables["PATH"] == f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    assert variables["PYTHONPATH"] == "/from/spec"
    assert variables["PYTHONNOUSERSITE"] == "1"
    assert variables["CONDA_PREFIX"] == str(prefix)
    assert "PYTHONHOME" not in variables
    assert "HOME" not in variables


def test_an_interrupt_and_a_shutdown_reach_the_kernel(
    built: tuple[Path, Kernelspec], tmp_path: Path
) -> None:
    prefix, _ = built
    folder = prefix / "share/jupyter/kernels"
    with kernel(folder, "my-demo", cwd=tmp_path, env={}) as (manager, client):
        pid = value_of(client, "os.getpid()")
        # The kernel is the process that was started: every shell before it has made way.
        assert manager.provisioner is not None
        assert pid == manager.provisioner.process.pid  # type: ignore[attr-defined]
        message = client.execute("print('on', flush=True)\nimport time\ntime.sleep(600)")
        while client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
            pass
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != message:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        manager.shutdown_kernel()
        assert not manager.is_alive()


def test_user_site_is_let_in_when_asked(built: tuple[Path, Kernelspec]) -> None:
    command = [built[0] / "share/reespack/exec", "python", "-c", "import sys; print(sys.path)"]
    env = {"PYTHONPATH": "/mine", "REESPACK_ISOLATE": "0"}
    # The spec's own PYTHONPATH wins over the caller's, as it would with conda.
    out = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert "/from/spec" in out


# --- outside -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(
    built: tuple[Path, Kernelspec],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Archive:
    form = getattr(request, "param", "tar.zst")
    path = tmp_path_factory.mktemp("dist") / f"demo.{form}"
    if form == "tar.gz":
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            tar.add(built[0], arcname="")
    else:
        import zstandard

        with (
            path.open("wb") as raw,
            zstandard.ZstdCompressor(level=1).stream_writer(raw) as out,
            tarfile.open(fileobj=out, mode="w|") as tar,
        ):
            tar.add(built[0], arcname="")
    return Archive(
        path=path,
        format=form,
        sha256=sha256_file(path),
        size=path.stat().st_size,
        unpacked_size=0,
        files=0,
        tree_digest="",
    )


@pytest.fixture
def installed(built: tuple[Path, Kernelspec], archive: Archive, tmp_path: Path) -> Path:
    """The kernelspec, as `jupyter kernelspec install --user` leaves it."""
    prefix, spec = built
    folder = write_launcher_kernelspec(
        tmp_path / "Demo-0123-linux-64.kernelspec",
        spec,
        archive=archive,
        source=prefix / spec.path,
    )
    data = tmp_path / "jupyter"
    env = {**os.environ, "JUPYTER_DATA_DIR": str(data)}
    jupyter = [sys.executable, "-m", "jupyter_client.kernelspecapp"]
    subprocess.run([*jupyter, "install", "--user", folder], env=env, check=True)
    shutil.rmtree(folder)
    return data / "kernels" / "demo-0123-linux-64.kernelspec"


def launch(installed: Path, store: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/bin/sh", installed / "launch.sh", *command],
        env={"REESPACK_STORE": str(store), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def environments(store: Path) -> list[Path]:
    """Return them; beside each there may be its leases, and nothing else."""
    found = sorted(path for path in store.iterdir() if not path.name.startswith("."))
    beside = {path.name for path in store.iterdir()} - {path.name for path in found}
    assert beside <= {f".{path.name}.leases" for path in found}
    return found


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("archive", ["tar.zst", "tar.gz"], indirect=True)
def test_the_first_kernel_unpacks_and_the_second_finds_it(
    installed: Path, archive: Archive, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {"HOME": str(home), "PATH": ""}
    environment = home / ".cache/reespack/environments" / archive.sha256[:16]
    before = time.time() - 1  # a file system's clock may be a little behind
    for _ in range(2):
        with kernel(installed.parent, installed.name, cwd=tmp_path, env=env) as (_, client):
            assert value_of(client, "sys.prefix") == str(environment)
            assert value_of(client, "os.environ['FROM_SPEC']") == "it's $HOME"
            assert value_of(client, "os.environ['FROM_START']").startswith(str(environment))
    files = [path for path in environment.rglob("*") if path.is_file() and not path.is_symlink()]
    assert min(path.stat().st_mtime for path in files) >= before
    assert (environment / "mended").read_text() == f"{environment}\n"
    assert environment.parent.stat().st_mode & 0o777 == 0o700
    assert environments(environment.parent) == [environment]


def test_of_two_at_once_one_unpacks(installed: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    code = "import sys; print(sys.prefix)"
    command = ("python", "-c", code)
    both = [launch(installed, store, *command, TEST_UNPACK_SECONDS="3") for _ in range(2)]
    (one, two) = [finish(process) for process in both]
    assert (one[0], two[0]) == (0, 0), one[2] + two[2]
    assert one[1] == two[1]
    assert (one[2] + two[2]).count("(once)") == 1
    assert (one[2] + two[2]).count("waiting") == 1
    (environment,) = environments(store)
    assert len((environment / "mended").read_text().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_half_way_nothing_is_taken_for_complete(
    installed: Path, tmp_path: Path, number: signal.Signals
) -> None:
    store = tmp_path / "store"
    process = launch(installed, store, "--unpack", TEST_UNPACK_SECONDS="600")
    # All is unpacked but for the last step, the worst moment: it looks complete.
    while not list(store.glob(".*.part.*/environment/bin/conda-unpack")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)
    assert finish(process)[0] != 0
    status, out, err = finish(launch(installed, store, "python", "-c", "print('up')"))
    assert (status, out) == (0, "up\n"), err
    assert ("taking over" in err) is (number == signal.SIGKILL)
    (environment,) = environments(store)
    assert (environment / "mended").is_file()


def test_the_archive_is_looked_for_and_checked(
    installed: Path, archive: Archive, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    hidden = archive.path.rename(away / archive.path.name)
    try:
        status, _, err = finish(launch(installed, tmp_path / "one", "--unpack"))
        assert status == 70
        assert str(archive.path) in err
        assert "REESPACK_ARCHIVES" in err
        archive.path.write_bytes(b"another")
        status, _, err = finish(launch(installed, tmp_path / "two", "--unpack"))
        assert status == 70
        assert "is another archive" in err
        found = launch(installed, tmp_path / "two", "--unpack", REESPACK_ARCHIVES=f"/x:{away}")
        assert finish(found)[0] == 0
        (installed / "archive").symlink_to(hidden)
        assert finish(launch(installed, tmp_path / "three", "--unpack"))[0] == 0
    finally:
        hidden.replace(archive.path)


def test_without_zstd_python_unpacks_or_the_message_says_what_to_do(
    installed: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    tools = (
        *("cat", "chmod", "id", "ln", "ls", "mkdir", "mv", "readlink", "rm", "rmdir"),
        *("sha256sum", "sleep", "tar"),
    )
    for name in tools:
        (bare / name).symlink_to(str(shutil.which(name)))
    # The launcher itself adds the system's folders to PATH, where this machine's zstd is.
    text = (installed / "launch.sh").read_text()
    (installed / "launch.sh").write_text(text.replace("/usr/local/bin:/usr/bin:/bin", str(bare)))
    status, _, err = finish(launch(installed, tmp_path / "one", "--unpack", PATH=str(bare)))
    assert status == 70
    assert "install zstd" in err
    assert list((tmp_path / "one").iterdir()) == []
    python = bare / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    status, _, err = finish(launch(installed, tmp_path / "two", "--unpack", PATH=str(bare)))
    assert status == 0, err
