"""The conda half of `lock`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reespack.errors import ChannelError, LockError, UnsatisfiableError
from reespack.locking import read_lock
from reespack.products import LockedConda
from testbed.locks import LINUX, World, conda_of, pip_of, spec


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
