"""The same input gives the same bytes, whoever builds it, wherever, whenever and however."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import zstandard
from sites import Site, only, repository

from reespack.files import remove_tree
from reespack.manifest import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
COMMITTED = 1_700_000_000
CAPABILITIES = "+dac_override,+dac_read_search"
"""With these another user reaches a Python that lies in root's own folder."""

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "mine"
version = "0.1"
[project.scripts]
mine-tool = "mine:main"
[tool.setuptools]
packages = ["mine"]
[tool.setuptools.package-data]
mine = ["*.txt"]
"""
EXTENSION = """\
from setuptools import Extension, setup
setup(ext_modules=[Extension("mine._native", ["mine/native.c"], extra_compile_args=["-g"])])
"""
NATIVE = """\
#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", __FILE__, -1, NULL};
PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&definition); }
"""
POST_BUILD = """\
#!/bin/bash
set -e
mkdir -p "$CONDA_PREFIX/share/mine"
cd "$CONDA_PREFIX/share/mine"
python -c "print({'a', 'b', 'c', 'd', 'e', 'f'})" > set.txt
python -c "import time; print(time.strftime('%c %Z', time.localtime(0)))" > zone.txt
printf 'B\\na\\nC\\n\\xc3\\xa9\\n' | sort > sorted.txt
date -d "@$SOURCE_DATE_EPOCH" > date.txt
umask > umask.txt
touch new.txt; mkdir new
stat -c '%a %n' new new.txt > modes.txt
stat -c '%a %Y %n' "$REPO_DIR"/* | sed "s|$REPO_DIR||" | sort > repository.txt
echo "$CONDA_PREFIX/lib" > prefix.txt
printf 'ELF-like\\0%s/lib\\0rest' "$CONDA_PREFIX" > prefix.bin
ln -s "$CONDA_PREFIX/lib" absolute
pip install --no-index --no-deps "$REPO_DIR/hooked"
"""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """All that must not matter to a build."""

    depth: int = 0
    user: int | None = None
    umask: int = 0o022
    zone: str = "UTC"
    language: str = "C.UTF-8"
    seed: str = "0"
    threads: int = 1
    clock: str | None = None

    def build(self, site: Site, source: Path, output: Path, *more: str) -> Path:
        """Build under these conditions; return the archive."""
        words = ["build", source, "-o", output, "--threads", str(self.threads), *more]
        command = site.command(*words)
        if self.user is not None:
            given = [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
            capable = [f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}"]
            command = ["setpriv", *given, *capable, *command]
        started = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=site.environ(**self._variables()),
            umask=self.umask,
        )
        said = started.communicate()[1]
        for left in ("faketime_shm", "sem.faketime_sem"):
            Path("/dev/shm", f"{left}_{started.pid}").unlink(missing_ok=True)  # noqa: S108 - where libfaketime puts them
        assert started.returncode == 0, said
        return only(output, "*.tar.zst")

    def _variables(self) -> dict[str, str]:
        named = {
            "TZ": self.zone,
            "LANG": self.language,
            "LC_ALL": self.language,
            "PYTHONHASHSEED": self.seed,
        }
        if self.clock is None:
            return named
        return {**named, "LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": self.clock}


PLAIN = Conditions()
OTHER = Conditions(
    depth=12,
    umask=0o077,
    zone="Pacific/Kiritimati",
    language="C",
    seed="4711",
    threads=4,
)


def project(folder: Path, name: str, *, native: bool = False) -> None:
    (folder / name).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT.replace("mine", name))
    (folder / name / "__init__.py").write_text("def main(): print('mine')\n")
    for text in ("b.txt", "a.txt", "c.txt"):
        (folder / name / text).write_text(text)
    if native:
        (folder / "setup.py").write_text(EXTENSION)
        (folder / name / "native.c").write_text(NATIVE)


def conda_only(folder: Path) -> None:
    repository(folder, environment__yml="dependencies: [python, ipykernel, six]\n")


def with_wheels(folder: Path) -> None:
    repository(folder, requirements__txt="six==1.16.0\ntabulate\njupyter-core\nipykernel\n")


def with_sources(folder: Path) -> None:
    environment = """\
        dependencies:
          - python
          - ipykernel
          - pip
          - pip:
            - docopt ==0.6.2
            - ./mine
        """
    repository(folder, environment__yml=textwrap.dedent(environment))
    project(folder / "mine", "mine", native=shutil.which("gcc") is not None)


def with_hook(folder: Path) -> None:
    listed = "dependencies: [python, ipykernel, pip, setuptools, wheel]\n"
    repository(folder, environment__yml=listed, postBuild=POST_BUILD)
    project(folder / "hooked", "hooked")
    pip = 'pip install --no-index --no-deps --no-build-isolation "$REPO_DIR/hooked"'
    hook = (folder / "postBuild").read_text().splitlines()[:-1]
    (folder / "postBuild").write_text("\n".join([*hook, pip, ""]))


def in_git(folder: Path) -> None:
    """Make a folder a git checkout with one commit."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{COMMITTED} +0000")
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], check=True, cwd=folder, env={**os.environ, **when})


@pytest.fixture
def room() -> Iterator[Path]:
    """Return a folder with a short path: a build prefix has room for 100 characters.

    It lies outside of pytest's own, which each session that begins closes to all other users.
    """
    folder = Path(tempfile.mkdtemp(prefix="r-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    folder.chmod(0o755)
    yield folder
    remove_tree(folder)


def place(site: Site, room: Path, name: str, conditions: Conditions) -> Site:
    """Return a machine with a cold cache, whose path has the length that is asked for."""
    folder = room.joinpath(name, *["folder"] * conditions.depth)
    folder.mkdir(parents=True)
    if conditions.user is not None:
        os.chown(folder, conditions.user, conditions.user)
        # access(2) does not count capabilities, and what is above may be closed to others.
        for parent in folder.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    return Site(folder, site.channel, site.python)


def other_user() -> int | None:
    """Return a user that this one can become, if that is possible."""
    if os.geteuid() or shutil.which("setpriv") is None:
        return None
    return 23456


def as_checked_out_elsewhere(source: Path, target: Path) -> Path:
    """Copy a repository as another user has it: private, and younger."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in target.rglob("*"):
        executable = path.is_dir() or (source / path.relative_to(target)).stat().st_mode & 0o100
        path.chmod(0o700 if executable else 0o600)
    return target


def members(archive: Path) -> dict[str, str]:
    listed = subprocess.run(
        ["tar", "-xOf", archive, "share/reespack/files.tsv"], check=True, capture_output=True
    )
    return dict(line.split("\t", 1) for line in listed.stdout.decode().splitlines())


def plain_tar(archive: Path) -> tarfile.TarFile:
    with archive.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return tarfile.open(fileobj=io.BytesIO(reader.read()))


def assert_same(one: Path, other: Path) -> None:
    """Compare by `cmp`; say which members differ."""
    if subprocess.run(["cmp", one, other], check=False, capture_output=True).returncode == 0:
        assert one.name == other.name
        return
    first, second = members(one), members(other)
    names = sorted({*first, *second})
    differing = [name for name in names if first.get(name) != second.get(name)]
    assert differing == []
    texts = [
        subprocess.run(
            ["tar", "-xOf", archive, "share/reespack/manifest.json"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for archive in (one, other)
    ]
    assert texts[0] == texts[1]
    pytest.fail("the compressed bytes differ")


@pytest.mark.parametrize(
    ("make", "depth"),
    [
        pytest.param(conda_only, 20, id="conda"),
        pytest.param(with_wheels, 20, id="wheels"),
        pytest.param(with_sources, 3, id="sources"),
        pytest.param(with_hook, 3, id="postBuild"),
    ],
)
def test_surroundings_do_not_matter(
    site: Site, room: Path, make: Callable[[Path], None], depth: int
) -> None:
    source = room / "one" / "repo"
    make(source)
    here = place(site, room, "here", PLAIN)
    first = PLAIN.build(here, source, room / "first")

    stranger = replace(OTHER, user=other_user(), depth=depth)
    there = place(site, room, "there", stranger)
    copy = as_checked_out_elsewhere(source, room / "the-other-place" / "repo")
    second = stranger.build(there, copy, there.folder / "second")
    assert_same(first, second)

    # Once more, from caches that have everything but the archive: packages, wheels, the lock.
    warm = replace(PLAIN, umask=0o002, seed="99", threads=3, zone="America/St_Johns")
    remove_tree(here.cache / "artifacts")
    assert_same(first, warm.build(here, source, room / "third"))


@pytest.mark.skipif(not FAKETIME, reason="libfaketime (Debian: faketime) is not installed")
def test_the_clock_does_not_matter(site: Site, room: Path) -> None:
    source = room / "repo"
    with_hook(source)
    archives = []
    for clock in ("-400d", "+2d"):
        conditions = Conditions(clock=clock)
        here = place(site, room, clock[1:], conditions)
        archives.append(conditions.build(here, source, here.folder / "dist"))
    assert_same(*archives)


def test_the_commits_time_is_every_members_unless_another_is_asked_for(
    site: Site, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = room / "repo"
    conda_only(source)
    in_git(source)
    times = set()
    for given in (None, "1000000000"):
        if given:
            monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
        output = room / f"dist-{given}"
        archive = PLAIN.build(site, source, output)
        with plain_tar(archive) as tar:
            (time,) = {member.mtime for member in tar}
            history = tar.extractfile("conda-meta/history")
            assert history is not None
            moment = dt.datetime.fromtimestamp(time, dt.timezone.utc)
            assert history.read().decode().startswith(f"==> {moment:%Y-%m-%d %H:%M:%S} <==")
        times.add(time)
    assert times == {COMMITTED, 1000000000}


CHANCE = """\
#!/bin/bash
mkdir -p "$CONDA_PREFIX/share/mine"
cd "$CONDA_PREFIX/share/mine"
echo same > same
od -An -N16 -tx8 /dev/urandom > random
touch "only-$(head -c8 /dev/urandom | od -An -tx8 | tr -d ' ')"
"""


def test_names_of_files_are_the_same_in_a_locale_without_utf8(site: Site, room: Path) -> None:
    hook = '#!/bin/sh\nmkdir -p "$CONDA_PREFIX/share"\ntouch "$CONDA_PREFIX/share/été"\n'
    listed = "dependencies: [python, ipykernel]\n"
    source = repository(room / "repo", environment__yml=listed, postBuild=hook)
    first = PLAIN.build(site, source, room / "first")
    remove_tree(site.cache / "artifacts")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = site.run("build", source, "-o", room / "second", env=ascii_only)
    assert ended.returncode == 0, ended.stderr
    assert "share/été" in [one["path"] for one in manifest_in(first)["changes"]]
    assert_same(first, only(room / "second", "*.tar.zst"))


def test_another_users_checkout_gives_the_same_archive(site: Site, room: Path) -> None:
    user = other_user()
    if user is None:
        pytest.skip("only root can become another user")
    source = room / "repo"
    conda_only(source)
    in_git(source)
    first = PLAIN.build(site, source, room / "first")
    assert manifest_in(first)["repository"]["commit"]
    stranger = replace(PLAIN, user=user)
    there = place(site, room, "there", stranger)
    assert_same(first, stranger.build(there, source, there.folder / "second"))


def manifest_in(archive: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        subprocess.run(
            ["tar", "-xOf", archive, "share/reespack/manifest.json"],
            check=True,
            capture_output=True,
        ).stdout
    )
    return found


def test_a_check_finds_what_chance_brings_in(site: Site, room: Path) -> None:
    source = repository(
        room / "repo",
        environment__yml="dependencies: [python, ipykernel]\n",
        postBuild=CHANCE,
    )
    plain = PLAIN.build(site, source, room / "plain")
    assert "differing" not in manifest_in(plain)
    # That the cache has an archive does not spare the two builds.
    words = ["build", source, "-o", room / "checked", "--check-reproducible", "--json"]
    ended = site.run(*words)
    assert ended.returncode == 62, ended.stderr
    assert "share/mine/random" in ended.stderr
    said = json.loads(ended.stdout)
    assert not said["reproducible"]
    archive = only(room / "checked", "*.tar.zst")
    assert said["archive"] == str(archive)
    listed = manifest_in(archive)["differing"]
    (lost, found, random) = sorted(listed, key=lambda one: (one["what"] == "content", one["what"]))
    assert random == {"path": "share/mine/random", "what": "content", "by": "postBuild"}
    assert (lost["what"], lost["by"]) == ("only in the first", "postBuild")
    assert (found["what"], found["by"]) == ("only in the second", "postBuild")
    assert found["path"] in members(archive)
    assert lost["path"] not in members(archive)
    beside = json.loads(only(room / "checked", "*.manifest.json").read_text())
    jsonschema.validate(beside, schema())
    assert beside["differing"] == listed
    site.succeed("verify", archive)
    # What is delivered later is not what a check found to be one of many.
    assert_same(plain, PLAIN.build(site, source, room / "later"))


def test_a_check_of_what_is_reproducible_gives_the_same_archive(site: Site, room: Path) -> None:
    source = room / "repo"
    with_hook(source)
    ended = site.run("build", source, "-o", room / "checked", "--check-reproducible")
    assert ended.returncode == 0, ended.stderr
    assert "the same bytes" in ended.stdout
    checked = only(room / "checked", "*.tar.zst")
    remove_tree(site.cache / "artifacts")
    assert_same(checked, PLAIN.build(site, source, room / "plain"))


def test_two_archives_are_compared_without_unpacking(site: Site, room: Path) -> None:
    source = repository(
        room / "repo",
        environment__yml="name: x\nchannels: [conda-forge]\ndependencies: [python, ipykernel]\n"
        "variables: {A: '1'}\n",
    )
    first = PLAIN.build(site, source, room / "first")
    other = repository(
        room / "other" / "repo",
        environment__yml="name: x\nchannels: [conda-forge]\n"
        "dependencies: [python, ipykernel, toolz, pip, {pip: [tabulate]}]\nvariables: {A: '2'}\n",
    )
    second = PLAIN.build(site, other, room / "second")
    beside = only(room / "second", "*.manifest.json")

    same = site.run("diff", first, only(room / "first", "*.manifest.json"))
    assert same.returncode == 0, same.stderr
    assert "same" in same.stdout

    ended = site.run("diff", first, beside, "--json")
    assert ended.returncode == 1, ended.stderr
    found = json.loads(ended.stdout)
    assert {"name": "variable A", "first": "1", "second": "2"} in found["settings"]
    assert [one["name"] for one in found["pip"]] == ["tabulate"]
    assert {one["name"] for one in found["conda"]} >= {"toolz"}
    assert all(one["first"] is None for one in (*found["conda"], *found["pip"]))
    listed = (members(first), members(second))
    differing = {
        path for path in {*listed[0], *listed[1]} if listed[0].get(path) != listed[1].get(path)
    }
    assert {one["path"] for one in found["files"]} == differing

    told = site.run("diff", first, second)
    assert told.returncode == 1
    assert "variable A" in told.stdout
    missing = site.run("diff", first, room / "no-such.tar.zst")
    assert missing.returncode == 70
