"""What every end-to-end test builds from: a real conda channel, made here and kept.

The channel is made by `reespack channel create` from this machine's CPythons and wheels of the
package index. It lies in an ignored folder of the checkout and is extended, never rebuilt, so that
only the first run of a machine pays for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

# several test modules know sites.py, and packed.py above
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from outputs import PLAIN, Output
from prefixes import Bench
from sites import Site, only, repository

TOP = Path(__file__).resolve().parents[2]
REQUIREMENTS = (
    "attrs",
    "ipykernel",
    "jupyterhub",
    "jupyterlab",
    "numpy",
    "pandas",
    "pip",
    "requests",
    "setuptools",
    "six",
    "toolz",
    "wheel",
)


@pytest.fixture(scope="session")
def wheelhouse() -> Path:
    """Return the channel's folder; REESPACK_TEST_CHANNEL names one that is ready instead."""
    given = os.environ.get("REESPACK_TEST_CHANNEL")
    if given:
        return Path(given)
    channel = TOP / ".cache" / "wheelhouse"
    channel.parent.mkdir(exist_ok=True)
    with FileLock(channel.with_suffix(".lock")):
        command = [sys.executable, "-m", "reespack", "channel", "create", channel, *REQUIREMENTS]
        subprocess.run(command, check=True)
    return channel


@pytest.fixture(scope="session")
def python_version() -> str:
    """Return the `X.Y` of the Python that the channel has for certain: the one running here."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path, python_version: str) -> Site:
    """Return a user's machine, whose cache all tests of a session share."""
    return Site(tmp_path_factory.mktemp("site"), wheelhouse, python_version)


@pytest.fixture(scope="session")
def prefix_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(
    tmp_path: Path,
    wheelhouse: Path,
    prefix_cache: Path,
    python_version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    """Return a folder to make prefixes in; the package cache is the same for all tests."""
    monkeypatch.setenv("PYTEST_REQUIREMENTS", str(tmp_path / "requirements.in"))
    return Bench(tmp_path, wheelhouse, prefix_cache, python_version)


@pytest.fixture(scope="module")
def output(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Return an output folder with a good archive in it."""
    folder = tmp_path_factory.mktemp("good")
    site.succeed(
        "build", repository(folder / "good", environment__yml=PLAIN), "-o", folder / "dist"
    )
    made = Output(site, folder / "dist")
    made.unchanged()
    return made


@pytest.fixture(scope="module")
def archive(output: Output) -> Path:
    """Return that archive."""
    return only(output.folder, "*.tar.zst")
