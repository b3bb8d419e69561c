"""Every case below fixtures/builds is built, unpacked somewhere else, and held to what it says.

Nothing here knows a case: fixtures/builds/README.md says what the files of one mean.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import string
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from kernels import kernel, value_of
from packaging.utils import canonicalize_name
from sites import only

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sites import Site

CASES = Path(__file__).resolve().parents[2] / "fixtures" / "builds"
PROGRAMS = Path(sys.executable).parent
ENDINGS = (".tar.zst", ".tar.gz", ".squashfs")
CONDA_LOCK = """
import json, pathlib, sys
from conda_lock.conda_lock import main
from conda_lock.lockfile import parse_conda_lock_file

parsed = parse_conda_lock_file(pathlib.Path(sys.argv[1]))
print(json.dumps([(one.manager, one.name, one.version) for one in parsed.package]), flush=True)
main(["render", "--kind", "explicit", sys.argv[1]])
"""


class Built(NamedTuple):
    """What one case became: the output folder, and the unpacked environment."""

    case: Path
    output: Path
    environment: Path
    rendering: subprocess.Popen[str]

    @property
    def manifest_file(self) -> Path:
        return only(self.output, "*.manifest.json")

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.manifest_file.read_text())
        return manifest

    @property
    def lockfile(self) -> Path:
        return only(self.output, "*.conda-lock.yml")


def cases() -> list[Path]:
    return sorted(path for path in CASES.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def session_of_rattler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a package cache of rattler's own: what it installs owes nothing to reespack."""
    return tmp_path_factory.mktemp("rattler")


@pytest.fixture(scope="module", params=cases(), ids=lambda case: case.name)
def built(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    case: Path = request.param
    missing = [name for name in _words(case / "needs") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on this machine")
    folder = tmp_path_factory.mktemp(case.name)
    source, options = _prepared(case, folder, site)
    output = folder / "output"
    site.succeed("build", source, "-o", output, *options)
    # conda-lock takes seconds to start; the archive is unpacked meanwhile.
    with _conda_lock(only(output, "*.conda-lock.yml"), folder) as rendering:
        environment = folder / "somewhere else" / "environment"
        (archive,) = [path for path in output.iterdir() if path.name.endswith(ENDINGS)]
        site.succeed("unpack", archive, environment)
        yield Built(case, output, environment, rendering)
    shutil.rmtree(folder)


def _words(file: Path, values: Mapping[str, str] | None = None) -> list[str]:
    text = file.read_text() if file.is_file() else ""
    return shlex.split(string.Template(text).substitute(values or {}), comments=True)


def _prepared(case: Path, folder: Path, site: Site) -> tuple[str, list[str]]:
    """Copy the user's files and run `prepare`; return what is built, and with which options."""
    copy, scratch = folder / "repository", folder / "scratch"
    shutil.copytree(case / "repository", copy, symlinks=True)
    scratch.mkdir()
    places = {"REPOSITORY": str(copy), "SCRATCH": str(scratch)}
    if (case / "prepare").is_file():
        environ = site.environ(
            PATH=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            PYTHON_VERSION=site.python,
            **places,
        )
        done = subprocess.run(
            [case / "prepare"], check=False, cwd=copy, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    (source,) = _words(case / "source", places) or [str(copy)]
    return source, _words(case / "options", places)


def _conda_lock(lockfile: Path, folder: Path) -> subprocess.Popen[str]:
    """Have conda-lock parse a lockfile, print what it found, and render it."""
    return subprocess.Popen(
        [sys.executable, "-c", CONDA_LOCK, lockfile],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _locked(packages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that the lock, and not postBuild, has brought."""
    return [package for package in packages if package["by"] == "lock"]


def _versions(built: Built, packages: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return versions by name, without those of projects: they may be known only when built."""
    projects = {one["name"] for one in built.manifest["pip"] if one["kind"] == "project"}
    return {name: "" if name in projects else version for name, version in packages}


def _locked_versions(built: Built, manager: str) -> dict[str, str]:
    locked = _locked(built.manifest[manager])
    return _versions(built, ((package["name"], package["version"]) for package in locked))


def test_sums(built: Built) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], check=True, cwd=built.output
    )
    listed = (built.output / "SHA256SUMS").read_text()
    files = [path for path in built.output.rglob("*") if path.is_file()]
    assert len(listed.splitlines()) == len(files) - 1


def test_conda_lock_accepts_the_lock(built: Built) -> None:
    printed, said = built.rendering.communicate(timeout=120)
    assert built.rendering.returncode == 0, said
    parsed = [tuple(one) for one in json.loads(printed.splitlines()[0])]
    assert len(parsed) == len(set(parsed))
    found = {
        manager: _versions(built, ((name, at) for kind, name, at in parsed if kind == manager))
        for manager in ("conda", "pip")
    }
    assert found == {manager: _locked_versions(built, manager) for manager in found}


def test_rattler_installs_an_equal_environment(
    built: Built, session_of_rattler: Path, tmp_path: Path
) -> None:
    from rattler import LockFile, install

    environment = LockFile.from_path(built.lockfile).default_environment()
    assert environment is not None
    platform = built.manifest["platform"]
    records = environment.conda_repodata_records()[platform]
    prefix = tmp_path / "prefix"
    asyncio.run(install(records, prefix, cache_dir=session_of_rattler, show_progress=False))
    fields = ("name", "version", "build", "sha256")
    installed = {
        tuple(record[field] for field in fields)
        for record in map(_record, (prefix / "conda-meta").glob("*.json"))
    }
    assert installed == {
        tuple(package[field] for field in fields) for package in _locked(built.manifest["conda"])
    }
    pip = environment.pypi_packages()[platform]
    found = _versions(built, ((canonicalize_name(one.name), str(one.version)) for one in pip))
    assert found == _locked_versions(built, "pip")
    shutil.rmtree(prefix)


def _record(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text())
    return record


def test_verify(built: Built, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            built.environment / "share" / "reespack" / "exec",
            built.case / "verify",
            built.manifest_file,
        ],
        check=False,
        capture_output=True,
        text=True,
        env={},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kernel(built: Built, tmp_path: Path) -> None:
    (listed,) = built.manifest["kernelspecs"][:1]
    folder = built.environment / "share" / "jupyter" / "kernels"
    env = {"IPYTHONDIR": str(tmp_path / "ipython")}
    with kernel(folder, listed["name"], cwd=tmp_path, env=env) as (_, client):
        assert value_of(client, "sys.prefix") == str(built.environment)
