"""What a lockfile says of the files that it was made from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reespack.errors import StaleLockError
from reespack.locking import given_lock, is_current
from reespack.locking.asked import quiet_conda_lock
from reespack.model import (
    ADDED,
    CondaRequirement,
    LockfileInput,
)
from testbed.locks import LINUX, World, conda_of, spec

if TYPE_CHECKING:
    from reespack.products import Lock


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
