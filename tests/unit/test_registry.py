from __future__ import annotations

import pytest

from reespack.entry_points import EntryPoint
from reespack.errors import BuildpackError
from reespack.registry import load_buildpacks, load_from


class Good:
    id = "good"
    api = 1
    files = ("good.txt",)
    slot = None
    rank = 0

    def detect(self, repository: object) -> None:
        """Never apply."""

    def contribute(self, repository: object, evidence: object, target: object) -> None:
        """Never called."""


class Ranked(Good):
    id = "ranked"
    rank = 5


class FromTheFuture(Good):
    id = "future"
    api = 99


class Unfinished:
    id = "unfinished"
    api = 1


class Explodes(Good):
    def __init__(self) -> None:
        raise RuntimeError("no luck")


NOT_A_CLASS = 7
HERE = "buildpacks_under_test"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


def point(name: str, attribute: str) -> EntryPoint:
    return EntryPoint(name=name, value=f"{HERE}:{attribute}", distribution=HERE, version="1.0")


def test_built_ins_come_in_a_fixed_order() -> None:
    found = load_buildpacks()
    assert [one.buildpack.id for one in found][:5] == [
        "lockfile",
        "environment.yml",
        "Pipfile",
        "requirements.txt",
        "project",
    ]
    assert {one.distribution for one in found} >= {"reespack"}
    assert [one.buildpack.id for one in found] == [one.buildpack.id for one in load_buildpacks()]


def test_rank_decides_the_order_whatever_the_entry_points_are() -> None:
    points = [point("a", "Good"), point("b", "Ranked")]
    ids = [one.buildpack.id for one in load_from(points)]
    assert ids == ["ranked", "good"]
    assert ids == [one.buildpack.id for one in load_from(reversed(points))]


def test_the_same_entry_point_twice_is_one() -> None:
    assert len(load_from([point("a", "Good"), point("a", "Good")])) == 1


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (["Good", "Good"], "two buildpacks have the id `good`"),
        (["FromTheFuture"], "is written for api 99; this reespack speaks api 1"),
        (["Unfinished"], "is not a buildpack"),
        (["NOT_A_CLASS"], "is not a buildpack"),
        (["Explodes"], "cannot be loaded: RuntimeError: no luck"),
        (["Missing"], "cannot be loaded: AttributeError"),
    ],
)
def test_what_is_wrong_names_its_source(attributes: list[str], message: str) -> None:
    points = [point(f"{index}", name) for index, name in enumerate(attributes)]
    with pytest.raises(BuildpackError) as caught:
        load_from(points)
    assert message in str(caught.value)
    assert HERE in str(caught.value)
    assert caught.value.exit_code == 21


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(BuildpackError, match="ModuleNotFoundError"):
        load_from([EntryPoint(name="x", value="no_such_module:X", distribution="d", version="1.0")])
