"""Every registered buildpack keeps the contract, over every case below fixtures/rees."""

from __future__ import annotations

import pytest
from rees_cases import all_cases

from reespack.errors import ReespackError
from reespack.registry import RegisteredBuildpack, load_buildpacks
from reespack.testing import check_buildpack

BUILDPACKS = load_buildpacks()


@pytest.mark.parametrize("registered", BUILDPACKS, ids=lambda one: one.buildpack.id)
def test_contract(registered: RegisteredBuildpack) -> None:
    applied = 0
    for case in all_cases():
        try:
            found = check_buildpack(registered.buildpack, case.root, platform=case.platform)
        except ReespackError:
            assert "error" in case.expected, case.name
            applied += 1
            continue
        applied += found is not None
    assert applied, "no case exercises this buildpack"


def test_ids_are_unique() -> None:
    ids = [one.buildpack.id for one in BUILDPACKS]
    assert len(ids) == len(set(ids))
