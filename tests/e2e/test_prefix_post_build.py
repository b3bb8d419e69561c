"""postBuild in a real prefix: what it does is reported, and what it starts is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from prefixes import PLATFORM, Bench, conda_package, contents, require_copies

from reespack.errors import PostBuildError
from reespack.products import FileChange


def test_all_that_post_build_does_is_reported_and_none_of_it_reaches_the_cache(
    bench: Bench,
) -> None:
    conda = bench.with_python("attrs")
    bench.make(conda, name="warm")
    site = f"lib/python{bench.python}/site-packages"
    before = contents(bench.cache / "packages")
    prefix = bench.make(
        conda,
        variables=(("GREETING", "good day"),),
        post_build=f"""\
            #!/usr/bin/env python
            import os, pathlib, sys
            prefix = pathlib.Path(sys.prefix)
            assert os.environ["CONDA_PREFIX"] == sys.prefix
            assert os.environ["GREETING"] == "good day"
            with (prefix / "{site}/attr/__init__.py").open("r+") as file:
                file.write("##")  # in place
            (prefix / "{site}/attr/_cmp.py").touch()
            (prefix / "{site}/attr/filters.py").unlink()
            (prefix / "{site}/extra.py").write_text("x = 1")
            (pathlib.Path.home() / "left").touch()
        """,
    )
    assert prefix.changes == (
        FileChange(path=f"{site}/attr/__init__.py", change="changed", by="postBuild"),
        FileChange(path=f"{site}/attr/filters.py", change="deleted", by="postBuild"),
        FileChange(path=f"{site}/extra.py", change="added", by="postBuild"),
    )
    assert prefix.leftovers == ("left",)
    assert contents(bench.cache / "packages") == before
    require_copies(bench.path)


def test_copies_can_be_read_by_all_whatever_the_umask(bench: Bench) -> None:
    before = os.umask(0o077)
    try:
        bench.make(bench.with_python("ipykernel"), post_build="#!/bin/sh\n")
    finally:
        os.umask(before)
    require_copies(bench.path)


def test_an_editable_install_becomes_a_real_one(bench: Bench) -> None:
    bench.project()
    prefix = bench.make(
        bench.with_python("setuptools", "wheel"),
        post_build="#!/bin/bash -e\npip install --no-build-isolation -e mine\n",
    )
    where = bench.run("python", "-c", "import mine; print(mine.answer, mine.__file__)")
    assert where == f"42 {bench.site / 'mine.py'}"
    assert not list(bench.site.glob("__editable__*"))
    assert "mine==0.1" in bench.run("python", "-m", "pip", "freeze").splitlines()
    assert any("editable" in note.message for note in prefix.notes)
    leaks = subprocess.run(["grep", "-Frl", ".work-", bench.path], capture_output=True, check=False)
    assert leaks.stdout == b""


def test_pip_in_post_build_leaves_neither_bytecode_nor_paths(bench: Bench) -> None:
    bench.project()
    prefix = bench.make(
        bench.with_python("setuptools", "wheel"),
        post_build="#!/bin/bash -e\npip install --no-build-isolation ./mine\n",
    )
    assert {one.change for one in prefix.changes} == {"added"}
    assert "mine.py" in {Path(one.path).name for one in prefix.changes}
    assert not any("__pycache__" in line for line in (
        bench.site / "mine-0.1.dist-info/RECORD").read_text().splitlines())  # fmt: skip
    assert not (bench.site / "__pycache__").exists()
    leaks = subprocess.run(["grep", "-Frl", ".work-", bench.path], capture_output=True, check=False)
    assert leaks.stdout == b""


def test_a_failing_post_build_keeps_what_was_made_and_no_scratch(bench: Bench) -> None:
    with pytest.raises(PostBuildError, match="exit code 3") as caught:
        bench.make(bench.with_python(), post_build="#!/bin/sh\necho why\nexit 3\n")
    assert caught.value.detail == "why"
    assert (bench.path / "bin/python").exists()
    assert not list(bench.folder.glob(".work-*"))


def _is_alive(pid: int) -> bool:
    """Say whether a process runs; one that is dead may still wait for init to take notice."""
    try:
        status = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_an_interrupt_ends_everything_that_was_started(bench: Bench) -> None:
    conda_package(bench.handmade, "tool", {"share/tool": b"good"})
    (tool,) = bench.conda("tool")
    started = bench.folder / "started"
    bench.write("postBuild", f"#!/bin/sh\nsleep 987 &\necho $! > {started}.new\n"
                f"mv {started}.new {started}\nsleep 987\n")  # fmt: skip
    code = textwrap.dedent(f"""
        from pathlib import Path
        from reespack.channels import ChannelSettings
        from reespack.model import EnvironmentSpec, Repository
        from reespack.products import LockedConda, PlatformLock
        from reespack.prefix import make_prefix
        from reespack.package_index import PackageIndex

        top, cache = Path({str(bench.top)!r}), Path({str(bench.folder / "own")!r})
        make_prefix(
            EnvironmentSpec(name="x", platform={PLATFORM!r}, channels=(), post_build="postBuild"),
            PlatformLock(platform={PLATFORM!r}, conda=(LockedConda(
                name="tool", version="1.0", build="0", url={tool.url!r},
                sha256={tool.sha256!r}, md5=None),)),
            path=Path({str(bench.folder / "env")!r}),
            repository=Repository(root=top, top=top, name="x", source="x"),
            channels=ChannelSettings(cache=cache), index=PackageIndex(), cache=cache,
            timeout=None, threads=1)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as child:
        while not started.exists():
            assert child.poll() is None
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.05)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    # What was killed is dead once it gets to run again, which nobody waits for.
    until = time.monotonic() + 30
    while _is_alive(int(started.read_text())):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not list(bench.folder.glob(".work-*"))
