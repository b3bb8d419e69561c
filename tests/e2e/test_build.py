"""From a repository to a kernel somewhere else, through the command line alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sites import Site, only, repository

EXECUTE = Path(sys.executable).with_name("jupyter-execute")
DEMO = Path(__file__).resolve().parents[2] / "fixtures" / "demo" / "sea-ice"


def execute(environment: Path, notebook: Path, folder: Path) -> str:
    """Run a notebook as `jupyter execute` of another Jupyter does; return what it printed."""
    subprocess.run(
        [EXECUTE, notebook, f"--output={folder / 'executed.ipynb'}"],
        check=True,
        env={**os.environ, "JUPYTER_PATH": str(environment / "share" / "jupyter")},
        cwd=folder,
    )
    cells = json.loads((folder / "executed.ipynb").read_text())["cells"]
    outputs = (output for cell in cells for output in cell.get("outputs", []))
    return "".join("".join(output.get("text", "")) for output in outputs)


def holding(folder: Path, needle: bytes) -> list[Path]:
    """Return the files below a folder whose content or link target holds some bytes."""
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink():
            content = bytes(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue
        if needle in content:
            found.append(path)
    return found


@pytest.fixture(scope="module")
def elsewhere(site: Site) -> tuple[Path, Path, bytes]:
    """Build, delete all that the build used, and unpack twice: by tar, and by reespack."""
    folder = site.folder / "elsewhere"
    own = Site(folder / "builder", site.channel, site.python)
    own.folder.mkdir(parents=True)
    own.succeed("build", DEMO, "-o", folder / "dist")
    shutil.rmtree(own.folder)
    archive = only(folder / "dist", "sea-ice-*.tar.zst")
    second, third = folder / "second", folder / "third"
    second.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", second], check=True)
    subprocess.run([second / "bin" / "conda-unpack"], check=True, env={}, cwd="/")
    site.succeed("unpack", archive, third)
    return second, third, str(own.folder).encode()


@pytest.mark.parametrize("which", [0, 1], ids=["tar", "reespack"])
def test_notebook_runs_elsewhere(
    elsewhere: tuple[Path, Path, bytes], which: int, tmp_path: Path
) -> None:
    environment = elsewhere[which]
    printed = execute(environment, DEMO / "index.ipynb", tmp_path)
    assert str(environment) in printed
    assert "-0.86 million km2 per decade" in printed


@pytest.mark.parametrize("which", [0, 1], ids=["tar", "reespack"])
def test_build_prefix_is_nowhere(elsewhere: tuple[Path, Path, bytes], which: int) -> None:
    assert holding(elsewhere[which], elsewhere[2]) == []


def test_unchanged_input_comes_from_the_cache(site: Site, tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", environment__yml="dependencies: [python, six]\n")
    first, second = tmp_path / "first", tmp_path / "second"
    site.succeed("build", source, "-o", first)
    said = site.succeed("build", source, "-o", second).stderr
    assert "cache" in said
    assert "Solving" not in said
    assert sorted(p.name for p in first.iterdir()) == sorted(p.name for p in second.iterdir())
    archives = [only(folder, "*.tar.zst").read_bytes() for folder in (first, second)]
    assert archives[0] == archives[1]

    def written() -> dict[Path, tuple[int, int]]:
        return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in second.rglob("*")}

    before = written()
    site.succeed("build", source, "-o", second)
    assert written() == before


def test_sums_are_those_of_coreutils(site: Site, tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", environment__yml="dependencies: [python, six]\n")
    output = tmp_path / "dist"
    site.succeed("build", source, "-o", output)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], check=True, cwd=output)
    listed = (output / "SHA256SUMS").read_text()
    assert all(
        path.relative_to(output).as_posix() in listed
        for path in output.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    )


def test_requirements_alone_take_the_kernel_from_the_index(site: Site, tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", requirements__txt="six==1.16.0\nipykernel<7\n")
    output = tmp_path / "dist"
    site.succeed("build", source, "-o", output)
    manifest = json.loads(only(output, "*.manifest.json").read_text())
    versions = {package["name"]: package["version"] for package in manifest["pip"]}
    assert versions["six"] == "1.16.0"
    assert versions["ipykernel"].startswith("6.")
    assert "ipykernel" not in {package["name"] for package in manifest["conda"]}


def test_failed_post_build_leaves_the_earlier_archive(site: Site, tmp_path: Path) -> None:
    source = repository(
        tmp_path / "repo",
        environment__yml="dependencies: [python, six]\n",
        postBuild="#!/bin/sh\nexit 0\n",
    )
    output = tmp_path / "dist"
    site.succeed("build", source, "-o", output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    (source / "postBuild").write_text("#!/bin/sh\necho no such data >&2\nexit 3\n")
    said = site.fail(52, "build", source, "-o", output)
    assert "exit code 3" in said
    assert "no such data" in said
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert list((site.cache / "builds").iterdir()) == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(
    site: Site, tmp_path: Path, signal_number: signal.Signals
) -> None:
    source = repository(
        tmp_path / "repo",
        environment__yml="dependencies: [python, six]\n",
        postBuild=f"#!/bin/sh\ntouch {tmp_path}/reached\nexec sleep 600\n",
    )
    output = tmp_path / "dist"
    child = subprocess.Popen(
        site.command("build", source, "-o", output),
        env=site.environ(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < deadline
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.05)
    child.send_signal(signal_number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + signal_number
    assert "Traceback" not in said
    assert not output.exists() or list(output.iterdir()) == []
    assert list((site.cache / "builds").iterdir()) == []


def test_dockerfile_alone_is_refused(site: Site, tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", Dockerfile="FROM scratch\n")
    assert "Dockerfile" in site.fail(23, "build", source, "-o", tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_output_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", environment__yml="dependencies: [python]\n")
    (tmp_path / "dist").write_text("a file, not a folder")
    site.fail(60, "build", source, "-o", tmp_path / "dist")
    assert (tmp_path / "dist").read_text() == "a file, not a folder"
