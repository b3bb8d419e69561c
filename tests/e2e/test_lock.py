"""Locks of real packages, held against conda-lock and rattler themselves."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from reespack.channels import ChannelSettings
from reespack.locking import lock, read_lock
from reespack.model import CondaRequirement, EnvironmentSpec, Origin, PipRequirement, Repository
from reespack.package_index import PackageIndex

if TYPE_CHECKING:
    from reespack.products import Lock

CONDA_LOCK = Path(sys.executable).with_name("conda-lock")
PLATFORM = "linux-64"

ENVIRONMENT = """\
name: ignored
channels:
  - conda-forge
dependencies:
  - python ={python}
  - ipykernel
  - pandas
  - pip
  - pip:
      - tabulate >=0.9
      - idna <3.5
      - docopt ==0.6.2
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, python_version: str) -> Repository:
    root = tmp_path_factory.mktemp("repository").resolve()
    (root / "environment.yml").write_text(ENVIRONMENT.format(python=python_version))
    (root / "lib").mkdir()
    (root / "lib" / "own.py").write_text("answer = 42\n")
    (root / "lib" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "own"\nversion = "1.2"\ndependencies = ["attrs", "tabulate"]\n'
        '[tool.setuptools]\npy-modules = ["own"]\n'
    )
    return Repository(root=root, top=root, name="repository", source=str(root))


@pytest.fixture(scope="module")
def settings(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> ChannelSettings:
    return ChannelSettings(
        cache=tmp_path_factory.mktemp("cache"), alias=(("conda-forge", str(wheelhouse)),)
    )


def specification(python: str, *more: str) -> EnvironmentSpec:
    """Return what ENVIRONMENT asks for, and a project besides, which conda-lock cannot read."""
    conda = (f"python ={python}", "ipykernel", "pandas", "pip", *more)
    pip = ("tabulate >=0.9", "idna <3.5", "docopt ==0.6.2")
    origin = Origin(file="environment.yml")
    return EnvironmentSpec(
        name="repository",
        platform=PLATFORM,
        channels=("conda-forge",),
        conda=tuple(
            CondaRequirement(spec=text, name=text.split()[0], origin=origin) for text in conda
        ),
        pip=(
            *(PipRequirement(text=text, origin=origin) for text in pip),
            PipRequirement(text="./lib", path="lib", origin=origin),
        ),
        sources=("environment.yml",),
    )


@pytest.fixture(scope="module")
def made(repository: Repository, settings: ChannelSettings, python_version: str) -> Lock:
    return lock(
        [specification(python_version, "requests")],
        repository=repository,
        channels=settings,
        index=PackageIndex(),
    )


@pytest.fixture(scope="module")
def written(made: Lock, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lock") / "conda-lock.yml"
    path.write_text(made.text)
    return path


def names(made: Lock) -> tuple[dict[str, str], dict[str, str]]:
    chosen = made.for_platform(PLATFORM)
    assert chosen is not None
    return {p.name: p.version for p in chosen.conda}, {p.name: p.version for p in chosen.pip}


def test_every_kind_of_distribution_is_pinned(made: Lock) -> None:
    chosen = made.for_platform(PLATFORM)
    assert chosen is not None
    kinds = {package.name: package.kind for package in chosen.pip}
    assert kinds.pop("attrs", "wheel") == "wheel"  # unless the channel's ipykernel needs it
    assert kinds == {"tabulate": "wheel", "docopt": "sdist", "idna": "wheel", "own": "project"}
    by_name = {package.name: package for package in chosen.pip}
    assert (by_name["own"].url, by_name["own"].version) == ("./lib", "1.2")
    assert ("tabulate", "") in by_name["own"].depends
    assert all(package.sha256 for package in chosen.pip if package.kind != "project")
    assert all(package.md5 and package.sha256 for package in chosen.conda)


def test_what_conda_provides_is_not_installed_twice(made: Lock, settings: ChannelSettings) -> None:
    from reespack.channels import client, gateway
    from reespack.locking.provided import find_provided

    conda, pip = names(made)
    chosen = made.for_platform(PLATFORM)
    assert chosen is not None
    channel = settings.resolved("conda-forge")[0]

    async def provided() -> set[str]:
        found = await gateway(settings).query(
            [channel], [PLATFORM, "noarch"], sorted(conda), recursive=False
        )
        urls = {package.url for package in chosen.conda}
        records = [record for several in found for record in several if record.url in urls]
        return set(await find_provided(records, client=client(settings), cache=settings.cache))

    by_conda = asyncio.run(provided())
    assert {"pandas", "numpy", "ipykernel"} <= by_conda
    overrides = {package.name for package in chosen.pip if package.overrides}
    # requests, from the channel, brought an idna that the pip section rules out.
    assert by_conda & pip.keys() == overrides == {"idna"}
    assert any("idna" in note.message for note in made.notes)


def test_conda_lock_parses_and_renders_it(made: Lock, written: Path, tmp_path: Path) -> None:
    command = [CONDA_LOCK, "render", "-p", PLATFORM, "-k", "explicit", "-k", "env", written]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    explicit = (tmp_path / f"conda-{PLATFORM}.lock").read_text()
    chosen = made.for_platform(PLATFORM)
    assert chosen is not None
    rendered = re.findall(r"^(\S+)#([0-9a-f]{32})$", explicit, re.MULTILINE)
    assert set(rendered) == {(package.url, package.md5) for package in chosen.conda}
    assert "# pip own @ file:./lib" in explicit
    for package in chosen.pip:
        assert f"# pip {package.name} @ " in explicit
    assert (
        f"tabulate == {names(made)[1]['tabulate']} --hash=sha256:"
        in (tmp_path / f"conda-{PLATFORM}.lock.yml").read_text()
    )


def test_its_content_hash_is_conda_locks(
    made: Lock, written: Path, repository: Repository, tmp_path: Path
) -> None:
    code = f"""
import json, pathlib, sys
from conda_lock.conda_lock import make_lock_spec
from conda_lock.content_hash import compute_content_hashes
from conda_lock.lockfile import parse_conda_lock_file
from conda_lock.virtual_package import default_virtual_package_repodata
pathlib.Path("mapping.json").write_text("{{}}")
spec = make_lock_spec(
    src_files=[pathlib.Path({str(repository.root / "environment.yml")!r})],
    platform_overrides=[{PLATFORM!r}], mapping_url="mapping.json",
)
lockfile = parse_conda_lock_file(pathlib.Path({str(written)!r}))
hashes = compute_content_hashes(spec, default_virtual_package_repodata())
print(json.dumps([hashes, lockfile.metadata.content_hash, len(lockfile.package)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    expected, recorded, count = json.loads(done.stdout)
    assert recorded == expected
    conda, pip = names(made)
    assert count == len(conda) + len(pip)


def test_rattler_installs_an_equal_environment_from_it(
    made: Lock, written: Path, tmp_path: Path
) -> None:
    from rattler import LockFile, install

    environment = LockFile.from_path(written).default_environment()
    assert environment is not None
    records = environment.conda_repodata_records()[PLATFORM]
    prefix = tmp_path / "prefix"
    asyncio.run(install(records, target_prefix=prefix))
    installed = {}
    for file in (prefix / "conda-meta").glob("*.json"):
        record = json.loads(file.read_text())
        installed[record["name"]] = (record["version"], record["build"], record["sha256"])
    chosen = made.for_platform(PLATFORM)
    assert chosen is not None
    assert installed == {p.name: (p.version, p.build, p.sha256) for p in chosen.conda}
    pip = environment.pypi_packages()[PLATFORM]
    assert {canonicalize_name(package.name) for package in pip} == names(made)[1].keys()
    code = "import pandas; print(pandas.DataFrame({'a': [1, 2]}).a.sum())"
    done = subprocess.run(
        [prefix / "bin" / "python", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "3"


def test_a_second_lock_is_the_same_file(
    made: Lock, repository: Repository, settings: ChannelSettings, python_version: str
) -> None:
    again = lock(
        [specification(python_version, "requests")],
        repository=repository,
        channels=settings,
        index=PackageIndex(),
        previous=read_lock(made.text),
    )
    assert again.text == made.text


def test_adding_a_package_changes_nothing_else(
    made: Lock, repository: Repository, settings: ChannelSettings, python_version: str
) -> None:
    more = lock(
        [specification(python_version, "requests", "toolz")],
        repository=repository,
        channels=settings,
        index=PackageIndex(),
        previous=made,
    )
    before, after = made.for_platform(PLATFORM), more.for_platform(PLATFORM)
    assert before is not None
    assert after is not None
    assert [p.name for p in set(after.conda) - set(before.conda)] == ["toolz"]
    assert set(before.conda) <= set(after.conda)
    assert after.pip == before.pip


def test_requirements_alone_take_all_but_python_from_the_index(
    repository: Repository, settings: ChannelSettings, python_version: str
) -> None:
    origin = Origin(file="requirements.txt", line=1)
    made = lock(
        [
            EnvironmentSpec(
                name="x",
                platform=PLATFORM,
                channels=("conda-forge",),
                conda=tuple(
                    CondaRequirement(spec=text, name=text.split()[0], origin=origin)
                    for text in (f"python ={python_version}", "pip")
                ),
                pip=tuple(
                    PipRequirement(text=text, origin=origin)
                    for text in ("ipykernel ==6.29.5", "six ==1.16.0")
                ),
            )
        ],
        repository=repository,
        channels=settings,
        index=PackageIndex(),
    )
    conda, pip = names(made)
    assert "ipykernel" not in conda
    assert (pip["ipykernel"], pip["six"]) == ("6.29.5", "1.16.0")
    assert made.notes == ()
