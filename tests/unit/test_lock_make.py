"""The whole of `lock`, over a channel and an index of a few small packages made on the spot."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reespack.channels import ChannelSettings
from reespack.errors import ChannelError, LockError, StaleLockError, UnsatisfiableError
from reespack.locking import given_lock, is_current, lock, read_lock
from reespack.locking.asked import quiet_conda_lock
from reespack.model import (
    ADDED,
    CondaRequirement,
    EnvironmentSpec,
    LockfileInput,
    Origin,
    PipOptions,
    PipRequirement,
    Repository,
)
from reespack.package_index import PackageIndex
from reespack.products import Lock, LockedConda, LockedPip

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LINUX = "linux-64"


class World:
    """A channel, an index and a repository below one folder."""

    def __init__(self, root: Path) -> None:
        self.channel, self.wheels, self.tree = root / "channel", root / "wheels", root / "repo"
        for folder in (self.channel / "noarch", self.channel / LINUX, self.wheels, self.tree):
            folder.mkdir(parents=True)
        self.settings = ChannelSettings(cache=root / "cache", alias=(("forge", str(self.channel)),))
        self.index = PackageIndex(
            find_links=(str(self.wheels),), no_index=True, cache=root / "uv", offline=True
        )
        self.repository = Repository(
            root=self.tree, top=self.tree, name="repo", source=str(self.tree)
        )

    def conda(
        self,
        name: str,
        version: str,
        *depends: str,
        provides: str = "",
        subdir: str = "noarch",
    ) -> None:
        """Add a conda package, with a distribution `name==version` of Python when it says so."""
        stem = f"{name}-{version}-0"
        index = {
            "name": name,
            "version": version,
            "build": "0",
            "build_number": 0,
            "subdir": subdir,
            "depends": list(depends),
            **({"noarch": "generic"} if subdir == "noarch" else {}),
        }
        files = {"info/index.json": json.dumps(index)}
        if provides:
            distribution, _, extra = provides.partition(";")
            folder = f"site-packages/{distribution.replace('==', '-')}.dist-info"
            files[f"{folder}/METADATA"] = f"Metadata-Version: 2.1\nName: x\n{extra}"
        paths = [{"_path": p, "path_type": "hardlink"} for p in files if not p.startswith("info")]
        files["info/paths.json"] = json.dumps({"paths": paths, "paths_version": 1})
        with tarfile.open(self.channel / subdir / f"{stem}.tar.bz2", "w:bz2") as tar:
            for path, text in files.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))

    def done(self) -> World:
        from rattler.index import index_fs

        asyncio.run(index_fs(self.channel))
        return self

    def wheel(self, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> Path:
        path = self.wheels / f"{name}-{version}-{tag}.whl"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        with zipfile.ZipFile(path, "w") as file:
            info = f"{name}-{version}.dist-info"
            file.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
            )
            file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
            file.writestr(f"{info}/RECORD", "")
        return path

    def lock(self, *specs: EnvironmentSpec, **more: Any) -> Lock:  # noqa: ANN401 - as `lock`
        return lock(
            specs,
            repository=self.repository,
            channels=self.settings,
            index=self.index,
            **more,
        )


def spec(
    *conda: str,
    pip: Iterable[str | PipRequirement] = (),
    platform: str = LINUX,
    **more: Any,  # noqa: ANN401 - fields of the spec
) -> EnvironmentSpec:
    return EnvironmentSpec(
        name="repo",
        platform=platform,
        channels=more.pop("channels", ("forge",)),
        conda=tuple(
            CondaRequirement(
                spec=text,
                name=text.rpartition("::")[2].split(" ")[0],
                origin=Origin(file="environment.yml", line=line),
            )
            for line, text in enumerate(conda, start=3)
        ),
        pip=tuple(
            one
            if isinstance(one, PipRequirement)
            else PipRequirement(text=one, origin=Origin(file="requirements.txt", line=line))
            for line, one in enumerate(pip, start=1)
        ),
        **more,
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with Python 3.11, alpha 1 and 2, and beta, which needs an alpha."""
    world = World(tmp_path)
    world.conda("python", "3.11.7", subdir=LINUX)
    world.conda("alpha", "1.0", "python", provides="alpha==1.0")
    world.conda("alpha", "2.0", "python", provides="alpha==2.0")
    world.conda("beta-core", "1.0", "python", "alpha", provides="Beta_Dist==1.0")
    return world.done()


def conda_of(made: Lock, platform: str = LINUX) -> dict[str, str]:
    chosen = made.for_platform(platform)
    assert chosen is not None
    return {package.name: package.version for package in chosen.conda}


def pip_of(made: Lock, platform: str = LINUX) -> dict[str, LockedPip]:
    chosen = made.for_platform(platform)
    assert chosen is not None
    return {package.name: package for package in chosen.pip}


# --- the conda half ----------------------------------------------------------------------------


def test_pins_packages_with_their_hashes_and_dependencies_first(world: World) -> None:
    made = world.lock(spec("python", "beta-core"))
    chosen = made.for_platform(LINUX)
    assert chosen is not None
    assert [package.name for package in chosen.conda] == ["python", "alpha", "beta-core"]
    beta = chosen.conda[-1]
    assert isinstance(beta, LockedConda)
    assert beta.url == f"{world.channel.as_uri()}/noarch/beta-core-1.0-0.tar.bz2"
    assert (beta.build, beta.depends) == ("0", ("alpha", "python"))
    assert len(beta.sha256 or "") == 64
    assert len(beta.md5 or "") == 32


def test_the_same_request_gives_the_same_bytes(world: World) -> None:
    request = spec("python", "beta-core", pip=("gamma",))
    world.wheel("gamma", "1.0", "alpha")
    first = world.lock(request)
    assert world.lock(request).text == first.text
    assert world.lock(request, previous=first).text == first.text
    assert read_lock(first.text) == first


def test_reads_back_what_it_wrote(world: World) -> None:
    made = world.lock(spec("python", "alpha 1.0"))
    assert read_lock(made.text) == made
    assert not made.given
    assert dict(made.virtual_packages).keys() == {LINUX}


def test_an_earlier_lock_is_kept_to(world: World) -> None:
    old = world.lock(spec("python", "alpha 1.0"))
    assert conda_of(world.lock(spec("python", "alpha"), previous=old))["alpha"] == "1.0"
    assert conda_of(world.lock(spec("python", "alpha"), previous=old, update=("alpha",))) == {
        "alpha": "2.0",
        "python": "3.11.7",
    }


def test_an_update_names_what_is_in_the_lock(world: World) -> None:
    old = world.lock(spec("python"))
    with pytest.raises(LockError, match="no package named alhpa"):
        world.lock(spec("python"), previous=old, update=("alhpa",))
    with pytest.raises(LockError, match="there is no lock yet"):
        world.lock(spec("python"), update=("python",))


def test_a_request_may_name_its_channel_by_an_alias(world: World) -> None:
    assert conda_of(world.lock(spec("forge::alpha 1.0", "python")))["alpha"] == "1.0"


def test_a_misspelt_package_is_named_with_its_line_and_its_neighbours(world: World) -> None:
    with pytest.raises(UnsatisfiableError) as caught:
        world.lock(spec("python", "alhpa"))
    assert caught.value.message == (
        "environment.yml:4: no package named 'alhpa' in forge for linux-64"
    )
    assert caught.value.hint == "did you mean alpha?"


def test_a_contradiction_shows_the_solver_channels_and_lines(world: World) -> None:
    with pytest.raises(UnsatisfiableError) as caught:
        world.lock(spec("python", "alpha >=3", "beta-core"))
    detail = caught.value.detail or ""
    assert "alpha >=3" in detail.split("channels asked")[0]
    assert world.channel.as_uri() in detail
    assert "environment.yml:4: alpha >=3" in detail
    assert "environment.yml:3" not in detail


def test_a_channel_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(ChannelError, match="fogre") as caught:
        world.lock(spec("python", channels=(f"{world.channel.parent}/fogre",)))
    assert "--channel-alias" in (caught.value.hint or "")


def test_offline_a_channel_never_seen_is_an_error_without_the_network(world: World) -> None:
    world.settings = replace(world.settings, offline=True)
    with pytest.raises(ChannelError, match=r"https://conda\.invalid/forge") as caught:
        world.lock(spec("python", channels=("https://conda.invalid/forge",)))
    assert "offline" in (caught.value.hint or "")
    assert conda_of(world.lock(spec("python"))) == {"python": "3.11.7"}


def test_virtual_packages_can_be_said(world: World) -> None:
    world.conda("gpu", "1.0", "__cuda >=12")
    world.done()
    assert "gpu" in conda_of(
        world.lock(spec("gpu"), virtual_packages={LINUX: [("__cuda", "12.4", "0")]})
    )
    with pytest.raises(UnsatisfiableError, match="no set of packages"):
        world.lock(spec("gpu"), virtual_packages={LINUX: [("__cuda", "11.0", "0")]})


def test_two_platforms_from_one_channel(world: World) -> None:
    (world.channel / "osx-arm64").mkdir()
    world.conda("python", "3.12.1", subdir="osx-arm64")
    world.done()
    world.wheel("gamma", "1.0", "delta; sys_platform == 'darwin'")
    world.wheel("delta", "1.0")
    made = world.lock(
        spec("python", "alpha", pip=("gamma",)),
        spec("python", "alpha 1.0", pip=("gamma",), platform="osx-arm64"),
    )
    assert conda_of(made) == {"python": "3.11.7", "alpha": "2.0"}
    assert conda_of(made, "osx-arm64") == {"python": "3.12.1", "alpha": "1.0"}
    assert pip_of(made).keys() == {"gamma"}
    assert pip_of(made, "osx-arm64").keys() == {"gamma", "delta"}


# --- the pip half ------------------------------------------------------------------------------


def test_what_conda_provides_is_never_taken_from_the_index(world: World) -> None:
    world.wheel("gamma", "1.0", "beta.dist>=1", "alpha")
    world.wheel("beta_dist", "9.0")
    made = world.lock(spec("python", "beta-core", pip=("gamma", "alpha")))
    assert list(pip_of(made)) == ["gamma"]
    assert pip_of(made)["gamma"].depends == (("alpha", ""), ("beta-dist", ""))


def test_a_contradiction_makes_conda_choose_again(world: World) -> None:
    world.wheel("gamma", "1.0", "alpha<2")
    world.wheel("alpha", "1.0")
    made = world.lock(spec("python", "alpha", pip=("gamma",)))
    assert conda_of(made)["alpha"] == "1.0"
    assert list(pip_of(made)) == ["gamma"]
    assert made.notes == ()


def test_a_direct_pip_pin_makes_conda_choose_again(world: World) -> None:
    world.wheel("alpha", "1.0")
    made = world.lock(spec("python", "beta-core", pip=("alpha<2",)))
    assert conda_of(made) == {"python": "3.11.7", "alpha": "1.0", "beta-core": "1.0"}
    assert pip_of(made) == {}


def test_where_no_channel_has_it_pip_takes_the_place(world: World) -> None:
    world.wheel("alpha", "0.9")
    made = world.lock(spec("python", "beta-core", pip=("alpha<1",)))
    assert conda_of(made)["alpha"] == "2.0"
    assert pip_of(made)["alpha"].version == "0.9"
    assert pip_of(made)["alpha"].overrides
    assert [str(note.origin) for note in made.notes] == ["requirements.txt:1"]
    assert "pip's alpha 0.9 takes the place of alpha 2.0" in made.notes[0].message
    assert read_lock(made.text).platforms == made.platforms


def test_a_conda_pin_holds_against_pip(world: World) -> None:
    world.wheel("alpha", "1.0")
    made = world.lock(spec("python", "alpha 2.0", pip=("alpha==1.0",)))
    assert conda_of(made)["alpha"] == "2.0"
    assert pip_of(made)["alpha"].overrides


def test_several_contradictions_are_each_settled_on_their_own(world: World) -> None:
    world.conda("bystander", "1.0", "python", provides="bystander==1.0")
    world.done()
    world.wheel("gamma", "1.0", "alpha<2", "beta-dist>=2", "bystander")
    for name, version in (("alpha", "1.0"), ("beta_dist", "2.0"), ("bystander", "9.0")):
        world.wheel(name, version)
    made = world.lock(spec("python", "beta-core", "bystander", pip=("gamma",)))
    assert conda_of(made) == {
        "python": "3.11.7",
        "alpha": "1.0",
        "beta-core": "1.0",
        "bystander": "1.0",
    }
    assert {name: one.overrides for name, one in pip_of(made).items()} == {
        "gamma": False,
        "beta-dist": True,
    }


def test_requirements_that_contradict_each_other(world: World) -> None:
    world.wheel("gamma", "1.0", "delta<2")
    world.wheel("delta", "1.0")
    world.wheel("delta", "2.0")
    with pytest.raises(UnsatisfiableError) as caught:
        world.lock(spec("python", "alpha", pip=("gamma", "delta>=2")))
    detail = caught.value.detail or ""
    assert "gamma depend on delta<2" in detail
    assert "requirements.txt:1: gamma" in detail
    assert "requirements.txt:2: delta>=2" in detail


def test_a_misspelt_pip_requirement_is_named_with_its_line(world: World) -> None:
    request = spec("python", "alpha", pip=("alpha", "gama"))
    with pytest.raises(UnsatisfiableError, match=r"^requirements\.txt:2: no package named 'gama'"):
        world.lock(request)


def test_extras_of_what_conda_provides_come_from_the_index(world: World) -> None:
    extra = "Provides-Extra: more\nRequires-Dist: delta; extra == 'more'\nRequires-Dist: unasked\n"
    world.conda("extended", "1.0", "python", provides=f"extended==1.0;{extra}")
    world.done()
    world.wheel("delta", "1.0")
    made = world.lock(spec("python", "extended", pip=("extended[more]>=1",)))
    assert list(pip_of(made)) == ["delta"]


def test_the_best_wheel_for_the_platform_is_taken(world: World) -> None:
    for tag in ("py3-none-any", "cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-linux_x86_64"):
        world.wheel("gamma", "1.0", tag=tag)
    made = world.lock(spec("python", pip=("gamma",)))
    assert pip_of(made)["gamma"].url.endswith("gamma-1.0-cp311-cp311-manylinux_2_17_x86_64.whl")


def test_no_wheel_for_the_platform_is_said(world: World) -> None:
    world.wheel("gamma", "1.0", tag="cp39-cp39-win_amd64")
    with pytest.raises(UnsatisfiableError) as caught:
        world.lock(spec("python", pip=("gamma",)))
    assert "gamma" in (caught.value.detail or "")
    assert "requirements.txt:1" in (caught.value.detail or "")


def test_hashes_are_held_to(world: World) -> None:
    from reespack.files import sha256_file

    origin = Origin(file="requirements.txt", line=7)
    right = f"sha256:{sha256_file(world.wheel('gamma', '1.0'))}"
    asked = PipRequirement(text="gamma==1.0", name="gamma", hashes=(right,), origin=origin)
    made = world.lock(spec("python", pip=(asked,)))
    assert f"sha256:{pip_of(made)['gamma'].sha256}" == right
    wrong = replace(asked, hashes=(f"sha256:{'0' * 64}",))
    with pytest.raises(LockError, match=r"^requirements\.txt:7: no file of gamma 1\.0"):
        world.lock(spec("python", pip=(wrong,)))


def test_one_hash_asks_for_all_but_what_reespack_adds(world: World) -> None:
    from reespack.files import sha256_file

    digest = sha256_file(world.wheel("gamma", "1.0", "delta"))
    world.wheel("delta", "1.0")
    world.wheel("kernel", "1.0")
    hashed = PipRequirement(
        text="gamma==1.0",
        name="gamma",
        hashes=(f"sha256:{digest}",),
        origin=Origin(file="requirements.txt", line=1),
    )
    added = PipRequirement(text="kernel", name="kernel", origin=ADDED)
    with pytest.raises(LockError, match=r"delta==1\.0 has no --hash"):
        world.lock(spec("python", pip=(hashed, added)))
    world.wheel("gamma", "1.0")
    digest = sha256_file(world.wheels / "gamma-1.0-py3-none-any.whl")
    hashed = replace(hashed, hashes=(f"sha256:{digest}",))
    world.index = replace(world.index, cache=world.tree.parent / "uv2")
    assert pip_of(world.lock(spec("python", pip=(hashed, added)))).keys() == {"gamma", "kernel"}


def test_a_wheel_in_the_repository_is_locked_without_this_machines_path(world: World) -> None:
    (world.tree / "wheels").mkdir()
    world.wheel("gamma", "1.0").rename(world.tree / "wheels" / "gamma-1.0-py3-none-any.whl")
    made = world.lock(
        spec("python", pip=("gamma",), pip_options=PipOptions(find_links=("wheels",)))
    )
    gamma = pip_of(made)["gamma"]
    assert (gamma.kind, gamma.url) == ("project", "./wheels/gamma-1.0-py3-none-any.whl")
    assert len(gamma.sha256 or "") == 64
    assert str(world.tree) not in made.text


def test_an_index_out_of_reach_is_named_without_its_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    world.index = replace(world.index, offline=False, no_index=False)
    options = PipOptions(index_url="http://me:secret@127.0.0.1:9/simple")
    with pytest.raises(LockError, match=r"index cannot be read: http://127\.0\.0\.1:9/") as caught:
        world.lock(spec("python", pip=("gamma",), pip_options=options))
    assert "secret" not in f"{caught.value.message}{caught.value.detail}"


def test_pip_without_python_is_an_error(world: World) -> None:
    world.conda("tool", "1.0")
    world.done()
    with pytest.raises(LockError, match=r"^requirements\.txt:1: .* need Python"):
        world.lock(spec("tool", pip=("gamma",)))


@pytest.mark.parametrize("damage", ["emptied", "gone"])
def test_a_package_that_cannot_be_read_is_an_error(world: World, damage: str) -> None:
    package = world.channel / "noarch" / "alpha-2.0-0.tar.bz2"
    package.write_bytes(b"") if damage == "emptied" else package.unlink()
    with pytest.raises(LockError, match=r"alpha-2\.0-0\.tar\.bz2 cannot be read"):
        world.lock(spec("python", "alpha", pip=("gamma",)))


def test_an_earlier_lock_keeps_pip_versions(world: World) -> None:
    world.wheel("gamma", "1.0")
    old = world.lock(spec("python", pip=("gamma",)))
    world.wheel("gamma", "2.0")
    world.wheel("delta", "1.0")
    request = spec("python", pip=("gamma", "delta"))
    assert pip_of(world.lock(request, previous=old))["gamma"].version == "1.0"
    new = world.lock(request, previous=old, update=("gamma",))
    assert pip_of(new)["gamma"].version == "2.0"


def test_git_commits_stay_until_they_are_updated(world: World) -> None:
    project = world.tree.parent / "project"
    (project / "gitdist").mkdir(parents=True)
    (project / "gitdist" / "__init__.py").touch()
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "gitdist"\nversion = "1.0"\n'
    )
    git(project, "init", "-q", "-b", "main", ".")
    first = commit(project)
    request = spec("python", pip=(f"gitdist @ git+{project.as_uri()}@main",))
    old = world.lock(request)
    assert pip_of(old)["gitdist"].url == f"git+{project.as_uri()}@{first}"
    assert pip_of(old)["gitdist"].kind == "git"
    second = commit(project)
    world.index = replace(world.index, offline=False)
    assert world.lock(request, previous=old).text == old.text
    moved = world.lock(request, previous=old, update=("gitdist",))
    assert pip_of(moved)["gitdist"].url.endswith(second)


def test_building_a_project_leaves_no_trace_in_the_repository(world: World) -> None:
    folder = world.tree / "lib"
    folder.mkdir()
    (folder / "backend.py").write_text(BACKEND.replace("gitdist", "legacy"))
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    project = PipRequirement(text="./lib", path="lib", origin=Origin(file="requirements.txt"))
    made = world.lock(spec("python", pip=(project,)))
    assert (pip_of(made)["legacy"].url, pip_of(made)["legacy"].kind) == ("./lib", "project")
    assert sorted(path.name for path in folder.iterdir()) == ["backend.py", "pyproject.toml"]


BACKEND = """
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    import os
    open("trace.egg-info", "w").close()
    os.mkdir(os.path.join(folder, "gitdist-1.0.dist-info"))
    with open(os.path.join(folder, "gitdist-1.0.dist-info", "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: gitdist\\nVersion: 1.0\\n")
    return "gitdist-1.0.dist-info"
"""


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


# --- what the file says of its sources ---------------------------------------------------------


def test_the_content_hash_is_conda_locks_own(world: World) -> None:
    with quiet_conda_lock():
        from conda_lock.conda_lock import make_lock_spec
        from conda_lock.content_hash import compute_content_hashes
        from conda_lock.virtual_package import default_virtual_package_repodata

    source = world.tree / "environment.yml"
    source.write_text("channels: [forge]\ndependencies:\n- python\n- alpha <2\n- pip: [gamma>0]\n")
    world.wheel("gamma", "1.0")
    mapping = world.tree.parent / "mapping.json"
    mapping.write_text("{}")
    made = world.lock(
        spec("python", "alpha <2", pip=("gamma>0",), sources=("environment.yml", "postBuild"))
    )
    expected = compute_content_hashes(
        make_lock_spec(src_files=[source], platform_overrides=[LINUX], mapping_url=str(mapping)),
        default_virtual_package_repodata(),
    )
    assert f"linux-64: {expected[LINUX]}" in made.text
    # What reespack adds to the request is not in it, but in a digest of reespack's own.
    added = CondaRequirement(spec="beta-core", name="beta-core", origin=ADDED)
    request = spec("python", "alpha <2", pip=("gamma>0",), sources=("environment.yml",))
    more = replace(request, conda=(*request.conda, added))
    again = world.lock(more)
    assert f"linux-64: {expected[LINUX]}" in again.text
    assert is_current(again, [more])
    assert not is_current(again, [request])


def test_a_committed_lock_belongs_to_its_files_until_they_change(world: World) -> None:
    source = world.tree / "requirements.txt"
    source.write_text("ipykernel\n")
    world.wheel("ipykernel", "1.0")
    made = world.lock(spec("python", pip=("ipykernel",), sources=("requirements.txt",)))
    (world.tree / "conda-lock.yml").write_text(made.text)
    committed = spec(lockfile=LockfileInput(path="conda-lock.yml", kind="conda-lock"))

    def given() -> Lock:
        return given_lock(committed, repository=world.repository, channels=world.settings)

    assert given() == replace(made, given=True)
    source.write_bytes(b"ipykernel\r\n")
    assert given().notes == ()
    source.write_text("ipykernel\ndelta\n")
    with pytest.raises(StaleLockError, match=r"does not belong to requirements\.txt"):
        given()


def test_categories_are_the_users(world: World) -> None:
    (world.tree / "environment.yml").write_text(
        "category: dev\nchannels: [forge]\ndependencies: [beta-core]\n"
    )
    request = spec("beta-core", sources=("environment.yml",))
    made = world.lock(request)
    assert made.text.count("category: dev") == 3
    assert conda_of(made).keys() == {"python", "alpha", "beta-core"}


def test_importing_the_reader_costs_neither_solver_nor_conda_lock() -> None:
    code = (
        "import sys; from reespack.locking import read_lock; "
        "assert not {'conda_lock', 'rattler'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_threads_may_not_read_for_the_first_time_at_once_is_read_before() -> None:
    """Or else uv is not found, now and then (https://github.com/python/cpython/issues/92452)."""
    code = (
        "import sysconfig; from reespack.locking.make import _import_conda_lock; "
        "_import_conda_lock(); assert 'EXE' in (sysconfig._CONFIG_VARS or {})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
