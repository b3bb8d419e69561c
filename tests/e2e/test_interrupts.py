"""Ctrl-C, wherever a command waits or works: it ends at once, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from outputs import PLAIN, Output
from servers import Standstill, serving
from sites import Site, repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INTERRUPTED = 130


@pytest.fixture
def standstill(wheelhouse: Path) -> Iterator[Callable[..., Any]]:
    """Return what makes a server of the channel that stops at some files."""
    over = threading.Event()

    def make(*stops: str) -> tuple[serving, threading.Event]:
        reached = threading.Event()
        handler = type(
            "Stopping", (Standstill,), {"stops": stops, "reached": reached, "over": over}
        )
        return serving(partial(handler, directory=str(wheelhouse))), reached

    yield make
    over.set()


def interrupted(site: Site, until: Callable[[str], bool], *words: str | Path, **env: str) -> str:
    """Press Ctrl-C when `until` says so of what was said so far; return all that was said."""
    with subprocess.Popen(
        site.command(*words),
        env=site.environ(**env),
        cwd=site.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stderr is not None
        said: list[str] = []
        reading = threading.Thread(target=said.extend, args=(child.stderr,))
        reading.start()
        deadline = time.monotonic() + 120
        while not until("".join(said)):
            assert time.monotonic() < deadline, said
            assert child.poll() is None, said
            time.sleep(0.02)
        # as a terminal does it: to every process of the group
        os.killpg(child.pid, signal.SIGINT)
        child.wait(60)
        reading.join()
        told = "".join(said)
        assert child.returncode == INTERRUPTED, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("interrupted")
    assert site.builds() == []
    return told


def test_interrupt_while_the_channel_is_asked(
    output: Output, tmp_path: Path, standstill: Callable[..., Any]
) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    server, reached = standstill("")
    with server as url:
        alias = f"conda-forge={url}"
        build = ("build", repo, "-o", output.folder, "--channel-alias", alias)
        interrupted(output.site, lambda _: reached.is_set(), *build)
    output.unchanged()


def test_interrupt_while_the_package_index_is_asked(
    output: Output, tmp_path: Path, standstill: Callable[..., Any]
) -> None:
    repo = repository(tmp_path / "repo", requirements__txt="six\n")
    server, reached = standstill("")
    with server as url:
        build = ("build", repo, "-o", output.folder)
        interrupted(
            output.site, lambda _: reached.is_set(), *build, UV_DEFAULT_INDEX=f"{url}/simple"
        )
    output.unchanged()


def test_interrupt_while_git_fetches(
    output: Output, tmp_path: Path, standstill: Callable[..., Any]
) -> None:
    server, reached = standstill("")
    with server as url:
        build = ("build", f"{url}/{tmp_path.name}.git", "-o", output.folder)
        interrupted(output.site, lambda _: reached.is_set(), *build)
    output.unchanged()


def test_interrupt_while_packages_are_downloaded(
    site: Site, tmp_path: Path, standstill: Callable[..., Any]
) -> None:
    own = Site(tmp_path, site.channel, site.python)
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    server, reached = standstill(".conda")
    with server as url:
        build = ("build", repo, "-o", tmp_path / "dist", "--channel-alias", f"conda-forge={url}")
        interrupted(own, lambda _: reached.is_set(), *build)
    assert list((tmp_path / "dist").iterdir()) == []


BIG = """#!/bin/sh
exec python -c '
import os, sys
with open(sys.prefix + "/big", "wb") as file:
    for _ in range(300): file.write(os.urandom(500000).hex().encode())
'
"""


@pytest.mark.parametrize("form", ["tar.zst", "tar.gz"])
def test_interrupt_while_packing(output: Output, tmp_path: Path, form: str) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN, postBuild=BIG)
    build = ("build", repo, "-o", output.folder, "--format", form)
    interrupted(output.site, lambda said: "Packing" in said, *build)
    output.unchanged()


@pytest.mark.parametrize("threads", ["1", "3"])
def test_interrupt_while_unpacking(site: Site, archive: Path, tmp_path: Path, threads: str) -> None:
    target = tmp_path / "environment"
    unpack = ("unpack", archive, target, "--threads", threads)
    interrupted(site, lambda said: "Unpacking" in said, *unpack)
    assert list(tmp_path.iterdir()) == []
