"""A real Slurm and a real Hub on this machine, and environments that are built for them.

`make test-cluster` sets up what they need and names it in variables: TEST_CLUSTER, the folder that
`set-up` has filled, and TEST_BUILDER, a Python with reespack that a conda channel can be made of.
As root there are two accounts, whose jobs run as themselves; else only the account that runs the
tests, and what needs two is skipped.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parent))

from accounts import make_account, remove_account
from lab import NUMPY, PACKAGES, Lab, build_options, run

from testbed.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurm import Slurm

    from testbed.hub import Hub


if "TEST_CLUSTER" not in os.environ:
    collect_ignore_glob = ["test_*.py"]  # `make test-cluster` sets up what they need


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Return this run's folder: not pytest's own, since other accounts' jobs look into it."""
    # Whoever ends the tests early still has daemons and accounts to be rid of; and a shell's
    # background jobs ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    roomy = os.environ.get("PYTEST_DEBUG_TEMPROOT", "/var/tmp")  # noqa: S108 - tests/conftest.py
    folder = Path(tempfile.mkdtemp(prefix="reespack-cluster-", dir=roomy))
    folder.chmod(0o755)
    yield folder
    wait_for(lambda: _removed(folder), seconds=60, what=f"{folder} is gone")


def _removed(folder: Path) -> bool:
    """Remove a folder, in which somebody may still be writing."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@pytest.fixture(scope="session")
def people(folder: Path) -> Iterator[tuple[str, ...]]:
    """Return the accounts whose jobs run: two made for this run, or who runs the tests."""
    if os.geteuid() != 0 or not _others_can_run(Path(os.environ["TEST_CLUSTER"])):
        yield (pwd.getpwuid(os.geteuid()).pw_name,)
        return
    # Of this run alone: others may be under way on this machine.
    names = tuple(f"{name}-{secrets.token_hex(4)}" for name in ("ada", "ben"))
    try:
        for name in names:
            make_account(name, home=folder / name)
        yield names
    finally:
        for name in names:
            remove_account(name)


def _others_can_run(given: Path) -> bool:
    """Whether another account can run what the set-up has installed: not in a closed folder."""
    command = ["runuser", "-u", "nobody", "--", given.absolute() / "venv/bin/python"]
    done = subprocess.run([*command, "-c", "import reespack"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="session")
def lab(folder: Path, people: tuple[str, ...]) -> Lab:
    given = Path(os.environ["TEST_CLUSTER"]).resolve()
    (folder / "stores").mkdir()
    (folder / "stores").chmod(0o1777)
    return Lab(
        given=given,
        folder=folder,
        builder=os.environ.get("TEST_BUILDER", sys.executable),
        people=people,
        password=secrets.token_hex(8),
        admin_password=secrets.token_hex(24),
        environ={
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
            "REESPACK_CACHE": str(given / "cache"),
            "REESPACK_SITE_CONFIG": "",
        },
    )


@pytest.fixture(scope="session")
def channel(lab: Lab) -> Path:
    """Return a conda channel with two versions of numpy, made once and kept."""
    channel = Path(os.environ.get("TEST_CHANNEL", lab.given / "channel"))
    done = channel / f".numpy-{'-'.join(NUMPY.values())}"
    with FileLock(channel.with_suffix(".lock")):  # two runs may share what the set-up has filled
        if not done.exists():
            first, second = (f"numpy=={version}" for version in NUMPY.values())
            for wanted in ((*PACKAGES, first), (second,)):
                run(lab.builder, "-m", "reespack", "channel", "create", str(channel), *wanted)
            done.touch()
    return channel


@pytest.fixture(scope="session")
def archives(lab: Lab, channel: Path) -> dict[str, Path]:
    """Return two archives, by name, whose numpys differ."""
    made = {}
    for name, version in NUMPY.items():
        repository = lab.folder / "repositories" / name
        repository.mkdir(parents=True)
        (repository / "environment.yml").write_text(
            f"channels: [conda-forge]\ndependencies: [python, numpy={version}]\n"
        )
        output = lab.folder / "dist"
        printed = run(
            *(lab.builder, "-m", "reespack", "build", str(repository), "--quiet"),
            *("--with", "server", "-o", str(output), *build_options(channel)),
            environ=lab.environ,
        )
        made[name] = Path(printed.strip())
    return made


@pytest.fixture(scope="session")
def catalog(lab: Lab, archives: dict[str, Path]) -> Path:
    """Return the catalog that the Hub starts with."""
    variables = "REESPACK_STORE_ORDER: XDG_CACHE_HOME"
    if len(lab.people) < 2:  # whose home is no place for what is only a test
        variables += f", XDG_CACHE_HOME: {lab.stores}/cache"
    lab.catalog.write_text(
        f"""\
# The environments of the tests.
format: 1
title: Choose an environment
default: beta
defaults:
  resources: {{nprocs: 1}}
  variables: {{{variables}}}
environments:
  alpha:
    title: Sea ice
    description: Satellite passages since 1979, with everything the course of 2026 needs.
    archive: {archives["alpha"]}
    groups: [ice]
    resources: {{memory: 500M, runtime: "1:00:00"}}
  beta:  # for everybody
    title: Statistics
    description: The second-year course.
    archive: dist/{archives["beta"].name}
  again:
    title: Sea ice, unpacked anew
    archive: {archives["alpha"]}
    variables:
      REESPACK_STORE: {lab.stores}/again
"""
    )
    return lab.catalog


@pytest.fixture(scope="session")
def slurm(lab: Lab) -> Iterator[Slurm]:
    from slurm import Slurm

    slurm = Slurm(lab.folder / "slurm")
    slurm.environ = {**lab.environ, **{k: slurm.environ[k] for k in ("SLURM_CONF", "PATH")}}
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@pytest.fixture(scope="session")
def hub(lab: Lab, slurm: Slurm, catalog: Path, channel: Path) -> Iterator[Hub]:
    """Return a Hub whose servers are Slurm's jobs."""
    _, alias, _, python = build_options(channel)
    name, _, place = alias.partition("=")
    (lab.folder / "reespack.toml").write_text(
        f'default-python = "{python}"\nshared-cache = "{lab.given}/cache"\n'
        f'[channel-alias]\n{name} = "{place}"\n'
    )
    builds = lab.folder / "builds"
    builds.mkdir()
    os.chown(builds, pwd.getpwnam(lab.people[-1]).pw_uid, -1)
    more = {
        "REESPACK_SITE_CONFIG": str(lab.folder / "reespack.toml"),
        "REESPACK_HUB_BUILDS": str(builds),
        "REESPACK_HUB_BUILD_ACCOUNT": lab.people[-1],
    }
    with _running_hub(lab, catalog, "hub", {**slurm.environ, **more}) as hub:
        yield hub


@pytest.fixture
def local_hub(lab: Lab, catalog: Path) -> Iterator[Hub]:
    """Return a Hub whose servers are processes beside it."""
    more = {"TEST_SPAWNER": "jupyterhub.spawner.LocalProcessSpawner"}
    name = f"local-{secrets.token_hex(4)}"  # for each test anew
    with _running_hub(lab, catalog, name, {**lab.environ, **more}) as hub:
        yield hub


@contextlib.contextmanager
def _running_hub(lab: Lab, catalog: Path, name: str, environ: dict[str, str]) -> Iterator[Hub]:
    from testbed.hub import Hub

    folder = lab.folder / name
    folder.mkdir(mode=0o700)
    environ = {key: value for key, value in environ.items() if key != "REESPACK_CACHE"}
    hub = Hub(
        folder,
        config=Path(__file__).with_name("jupyterhub_config.py"),
        installed=lab.given,
        environ={
            **environ,
            "TEST_USERS": ",".join(lab.people),
            "TEST_PASSWORD": lab.password,
            "TEST_ADMIN_PASSWORD": lab.admin_password,
            "REESPACK_HUB_CATALOG": str(catalog),
        },
    )
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()
