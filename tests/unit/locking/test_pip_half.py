"""The pip half of `lock`, and what it and the conda half ask of each other."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reespack.errors import LockError, UnsatisfiableError
from reespack.locking import read_lock
from reespack.model import (
    ADDED,
    Origin,
    PipOptions,
    PipRequirement,
)
from testbed.locks import World, conda_of, pip_of, spec

if TYPE_CHECKING:
    from pathlib import Path


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
