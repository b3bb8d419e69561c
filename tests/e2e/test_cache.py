"""One cache, many builds: at once, by several users, pruned meanwhile, on bad file systems."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from disks import give_more_room, under_quota
from sites import Site, only, repository, well_said

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_FLOCK = Path(__file__).parents[1] / "no_flock.c"
NOBODY = 65534
MIB = 1 << 20


@pytest.fixture
def fresh(tmp_path: Path, wheelhouse: Path, python_version: str) -> Site:
    """Return a machine whose cache is empty."""
    return Site(tmp_path, wheelhouse, python_version)


@pytest.fixture
def public(wheelhouse: Path, python_version: str) -> Iterator[Site]:
    """Return a fresh machine whose folder other users may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    folder.chmod(0o755)
    yield Site(folder, wheelhouse, python_version)
    shutil.rmtree(folder)


def plain(site: Site, name: str, *packages: str, pip: tuple[str, ...] = (), **more: str) -> Path:
    lines = [f"python={site.python}", *packages]
    if pip:
        lines += ["pip", "pip:", *(f"    - {one}" for one in pip)]
    text = "dependencies:\n" + "".join(
        f"{line}\n" if line.startswith("  ") else f"  - {line}\n" for line in lines
    )
    return repository(site.folder / name, environment__yml=text, **more)


def start(site: Site, *words: str | Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        site.command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=site.environ(**more),
        cwd=site.folder,
    )


def ended(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    while not file.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def taken(folder: Path) -> int:
    """Return what a folder takes on the disk, as du counts it."""
    files = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        files[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(files.values())


def archives(folder: Path) -> dict[str, bytes]:
    """Return what a build gave, but for the kernelspec, which knows where its archive is."""
    found = {path.name: path.read_bytes() for path in folder.glob("*-linux-*.*") if path.is_file()}
    assert len(found) == 3
    return found


def steps(said: list[str], line: str) -> int:
    return sum(text.count(line) for text in said)


# --- little disk -------------------------------------------------------------------------------


def test_a_second_environment_costs_only_what_is_new(fresh: Site) -> None:
    fresh.succeed("build", plain(fresh, "one"), "-o", "dist")
    first = taken(fresh.cache / "packages")
    fresh.succeed("build", plain(fresh, "two", "six"), "-o", "dist")
    assert taken(fresh.cache / "packages") - first < MIB < first / 20
    # What is delivered is the cache's own file, once on the disk.
    archive = only(fresh.folder / "dist", "two-*.tar.zst")
    assert archive.stat().st_nlink == 2
    shown = json.loads(fresh.succeed("cache", "info", "--json").stdout)
    parts = {part["name"]: part for part in shown["parts"]}
    assert parts["artifacts"]["entries"] == 2
    assert abs(parts["packages"]["size"] - taken(fresh.cache / "packages")) < MIB
    assert shown["users"] == []


def test_a_cleaned_cache_is_filled_again_with_the_same(fresh: Site) -> None:
    repo = plain(fresh, "r", pip=("toolz",))
    fresh.succeed("build", repo, "-o", "one")
    fresh.succeed("cache", "clean")
    assert taken(fresh.cache) < MIB
    said = fresh.succeed("build", repo, "-o", "two").stderr
    assert "Solving" in said
    assert archives(fresh.folder / "one") == archives(fresh.folder / "two")


def test_limits_are_read_with_care(site: Site) -> None:
    assert "--max-size: '30' has no unit" in site.fail(2, "cache", "prune", "--max-size", "30")
    assert "'1 month'" in site.fail(2, "cache", "prune", "--older-than", "1 month")


def test_what_is_damaged_in_the_cache_is_made_again(fresh: Site) -> None:
    repo = plain(fresh, "r")
    fresh.succeed("build", repo, "-o", "dist")
    before = archives(fresh.folder / "dist")
    kept = only(fresh.cache / "artifacts", "*")
    for name in ("archive", "manifest.json", "conda-lock.yml", "kernelspec/kernel.json"):
        file = kept / name
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:-1] if name == "archive" else b"")
        said = fresh.succeed("build", repo, "-o", "dist").stderr
        assert "is damaged in the cache: it is made again" in said
        assert archives(fresh.folder / "dist") == before
        assert only(fresh.cache / "artifacts", "*") == kept
    assert "Nothing has changed" in fresh.succeed("build", repo, "-o", "dist").stderr


# --- many builds -------------------------------------------------------------------------------


def test_builds_of_the_same_at_once_do_the_work_once(fresh: Site) -> None:
    repo = plain(fresh, "same", "six", pip=("toolz",))
    builds = [start(fresh, "build", repo, "-o", f"out-{number}") for number in range(3)]
    said = [ended(build) for build in builds]
    assert steps(said, "Solving the conda packages") == 1
    assert steps(said, "Installing conda packages") == 1
    assert steps(said, "Packing") == 1
    outputs = [archives(fresh.folder / f"out-{number}") for number in range(3)]
    assert outputs[0] == outputs[1] == outputs[2]
    assert list((fresh.cache / "leases").iterdir()) == []


def test_builds_of_different_input_at_once_do_not_disturb_each_other(fresh: Site) -> None:
    names = ("six", "attrs", "toolz")
    repos = [plain(fresh, f"with-{name}", name) for name in names]
    builds = [start(fresh, "build", repo, "-o", "dist") for repo in repos]
    said = [ended(build) for build in builds]
    assert steps(said, "Installing conda packages") == 3
    for name in names:
        archive = only(fresh.folder / "dist", f"with-{name}-*.tar.zst")
        fresh.succeed("verify", archive)
        fresh.succeed("unpack", archive, f"env-{name}")
        python = fresh.folder / f"env-{name}" / "bin" / "python"
        subprocess.run([python, "-c", f"import {name.replace('attrs', 'attr')}"], check=True)


def hanging(site: Site, name: str) -> tuple[Path, Path, Path]:
    """Return a repository whose postBuild waits, the file that says so, and the one it awaits."""
    begun, go = site.folder / f"{name}-begun", site.folder / f"{name}-go"
    script = f"#!/bin/sh\ntouch {begun}\nwhile [ ! -e {go} ]; do sleep 0.05; done\n"
    return plain(site, name, "six", postBuild=script), begun, go


def test_pruning_takes_nothing_from_a_build_under_way(fresh: Site) -> None:
    fresh.succeed("build", plain(fresh, "idle", "attrs"), "-o", "dist")
    repo, begun, go = hanging(fresh, "busy")
    subprocess.run(["git", "init", "-q", repo], check=True)
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", repo, "add", "."], check=True)
    subprocess.run(["git", "-C", repo, *who, "commit", "-qm", "x"], check=True)
    build = start(fresh, "build", f"{repo}@HEAD", "-o", "dist")
    wait_for(begun, build)
    assert f"process {build.pid} on" in fresh.succeed("cache", "info").stdout
    pruned = json.loads(fresh.succeed("cache", "prune", "--max-size", "0", "--json").stdout)
    fresh.succeed("cache", "clean")
    gone = {(one["part"], one["name"].rpartition("-")[0]) for one in pruned["removed"]}
    assert any(name.startswith("attrs-") for part, name in gone if part == "packages")
    assert not any(name.startswith(("six-", "python-3")) for part, name in gone)
    assert {part for part, _ in gone} <= {"packages", "artifacts", "lockfiles"}
    assert len(list((fresh.cache / "repositories").glob("[0-9a-f]*"))) == 1
    assert len(fresh.builds()) == 1
    go.touch()
    ended(build)
    fresh.succeed("verify", only(fresh.folder / "dist", "busy-*.tar.zst"))
    assert fresh.builds() == []


def test_what_a_killed_build_holds_is_nobodys(fresh: Site) -> None:
    repo, begun, go = hanging(fresh, "killed")
    build = start(fresh, "build", repo, "-o", "dist")
    wait_for(begun, build)
    build.kill()
    build.communicate()
    go.touch()
    assert len(fresh.builds()) == 1
    fresh.succeed("cache", "clean")
    assert fresh.builds() == []
    assert taken(fresh.cache) < MIB
    fresh.succeed("build", repo, "-o", "dist")


# --- several users -----------------------------------------------------------------------------


def as_somebody_else(
    site: Site, *words: str | Path, groups: str = "", umask: str = "022", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, who may read everything, as far as rights for writing go."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to be two users")
    home = site.folder / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, NOBODY, NOBODY)
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}"]
    become += [f"--groups={groups}"] if groups else ["--clear-groups"]
    # The Python of this test may lie in root's home.
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return subprocess.run(
        [*become, "sh", "-c", f'umask {umask} && exec "$@"', "sh", *site.command(*words)],
        check=False,
        capture_output=True,
        text=True,
        env=site.environ(HOME=str(home), TMPDIR=str(home), **more),
        cwd=home,
    )


def test_a_shared_cache_below_is_used_and_not_touched(public: Site) -> None:
    base, more = plain(public, "base"), plain(public, "more", "six")
    public.succeed("build", base, "-o", "dist")
    shared = public.folder / "shared"
    public.cache.rename(shared)
    before = {path: path.lstat().st_mtime_ns for path in shared.rglob("*")}
    own = {"REESPACK_CACHE": str(public.folder / "home" / "own")}
    own["REESPACK_SHARED_CACHE"] = str(shared)
    kept = as_somebody_else(public, "build", base, "-o", "dist", **own)
    assert kept.returncode == 0, kept.stderr
    assert "Nothing has changed" in kept.stderr
    made = as_somebody_else(public, "build", more, "-o", "dist", **own)
    assert made.returncode == 0, made.stderr
    packages = (public.folder / "home" / "own" / "packages").glob("*/info")
    assert [path.parent.name.split("-")[0] for path in packages] == ["six"]
    assert {path: path.lstat().st_mtime_ns for path in shared.rglob("*")} == before
    # The same bytes as without it.
    public.succeed("build", more, "-o", "alone")
    one = only(public.folder / "alone", "more-*.tar.zst")
    assert one.read_bytes() == only(public.folder / "home/dist", "more-*.tar.zst").read_bytes()


def test_what_is_damaged_in_a_shared_cache_below_is_made_again_above(fresh: Site) -> None:
    repo = plain(fresh, "r")
    fresh.succeed("build", repo, "-o", "dist")
    before = archives(fresh.folder / "dist")
    shared = fresh.folder / "shared"
    fresh.cache.rename(shared)
    archive = only(shared / "artifacts", "*") / "archive"
    archive.unlink()  # what was delivered is the same file
    archive.write_bytes(b"")
    below = {"REESPACK_SHARED_CACHE": str(shared)}
    made = fresh.succeed("build", repo, "-o", "again", env=below).stderr
    assert "is damaged in the cache: it is made again" in made
    assert archives(fresh.folder / "again") == before
    assert archive.read_bytes() == b""  # another's: it is only read
    assert "Nothing has changed" in fresh.succeed("build", repo, "-o", "again", env=below).stderr


def test_a_group_shares_a_cache(public: Site) -> None:
    public.cache.mkdir()
    os.chown(public.cache, -1, 12345)
    public.cache.chmod(0o2775)
    as_somebody_else(public, "--version")  # which skips where there is only one user
    one, two = plain(public, "one"), plain(public, "two", "six", pip=("toolz",))
    public.succeed("build", one, "-o", "dist")
    other = as_somebody_else(public, "build", two, "-o", "dist", groups="12345")
    assert other.returncode == 0, other.stderr
    assert list(public.cache.glob("packages/six-*"))
    again = as_somebody_else(public, "build", one, "-o", "dist", groups="12345")
    assert "Nothing has changed" in again.stderr
    public.succeed("build", two, "-o", "dist")
    three = plain(public, "three", "attrs", pip=("toolz",))
    public.succeed("build", three, "-o", "dist")
    pruned = as_somebody_else(public, "cache", "clean", groups="12345")
    assert pruned.returncode == 0, pruned.stderr
    assert not list(public.cache.glob("artifacts/*"))
    public.succeed("build", two, "-o", "dist")


# --- bad file systems --------------------------------------------------------------------------


@pytest.fixture
def no_flock(tmp_path: Path) -> dict[str, str]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path / "no_flock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, NO_FLOCK, "-ldl"], check=True)
    local = tmp_path / "local"
    local.mkdir()
    return {
        "LD_PRELOAD": str(library),
        "NO_FLOCK": str(tmp_path / "cache"),
        "TMPDIR": str(local),
    }


def test_without_flock_all_is_the_same(fresh: Site, no_flock: dict[str, str]) -> None:
    repo = plain(fresh, "r", "six", pip=("toolz",))
    builds = [start(fresh, "build", repo, "-o", f"out-{n}", **no_flock) for n in range(2)]
    said = [ended(build) for build in builds]
    assert steps(said, "Solving the conda packages") == 1
    assert steps(said, "Installing conda packages") == 1
    assert list((fresh.cache / "packages").glob("six-*"))
    again = fresh.run("build", plain(fresh, "other", "six"), "-o", "d", env=no_flock)
    assert again.returncode == 0, again.stderr
    assert "Fetching" not in again.stderr
    busy, begun, go = hanging(fresh, "busy")
    build = start(fresh, "build", busy, "-o", "dist", **no_flock)
    wait_for(begun, build)
    assert fresh.run("cache", "clean", env=no_flock).returncode == 0
    assert list((fresh.cache / "packages").glob("six-*"))
    go.touch()
    ended(build)
    fresh.cache.rename(fresh.folder / "without")
    fresh.succeed("build", repo, "-o", "with")
    assert archives(fresh.folder / "with") == archives(fresh.folder / "out-0")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "reespack-test", str(folder)]
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, to mount a small disk")
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_error_and_leaves_the_cache_sound(fresh: Site) -> None:
    repo = plain(fresh, "r")
    with mounted(fresh.cache, "size=48m"):
        said = fresh.run("build", repo, "-o", "dist")
        assert said.returncode not in {0, 1}, said.stderr
        well_said(said.stderr)
        assert "space" in said.stderr
        assert fresh.builds() == []
        # What is there is whole: with more room the same cache gives an environment that works.
        subprocess.run(["mount", "-o", "remount,size=1g", str(fresh.cache)], check=True)
        fresh.succeed("build", repo, "-o", "dist")
        fresh.succeed("verify", only(fresh.folder / "dist", "r-*.tar.zst"))
        filler = fresh.cache / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 30))
        fresh.succeed("cache", "prune", "--max-size", "0")
        assert list((fresh.cache / "packages").glob("python-3*")) == []


def test_a_quota_is_one_error_and_leaves_the_cache_sound(fresh: Site) -> None:
    repo = plain(fresh, "r")
    with under_quota(fresh.cache, "48M"):
        said = fresh.run("build", repo, "-o", "dist")
        assert said.returncode not in {0, 1}, said.stderr
        well_said(said.stderr)
        assert "quota" in said.stderr.lower()
        assert fresh.builds() == []
        give_more_room(fresh.cache)
        fresh.succeed("build", repo, "-o", "dist")
        fresh.succeed("verify", only(fresh.folder / "dist", "r-*.tar.zst"))


def test_a_read_only_cache_gives_what_it_has_and_says_what_it_cannot(fresh: Site) -> None:
    repo = plain(fresh, "r")
    with mounted(fresh.cache, "size=1g"):
        fresh.succeed("build", repo, "-o", "dist")
        subprocess.run(["mount", "-o", "remount,ro", str(fresh.cache)], check=True)
        assert "Nothing has changed" in fresh.succeed("build", repo, "-o", "again").stderr
        for words in (("build", plain(fresh, "s", "six"), "-o", "dist"), ("cache", "clean")):
            said = fresh.run(*words)
            assert said.returncode == 2, said.stderr
            well_said(said.stderr)
            assert "REESPACK_CACHE" in said.stderr
        fresh.succeed("cache", "info")


if sys.platform != "linux":
    pytest.skip("environments are built on Linux", allow_module_level=True)
