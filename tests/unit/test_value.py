"""What a `Value` is: the same as a frozen dataclass with keywords only."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace

import pytest

from reespack.value import Value


class Point(Value):
    """A place."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


class Named(Point):
    """A place with a name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What `dataclasses` makes of the same fields."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


def test_has_what_it_was_given_and_else_its_defaults() -> None:
    assert (Point(x=1).x, Point(x=1).y, Point(x=1, y=2).y) == (1, 0, 2)
    assert Point(x=1).tags == []
    assert Point(x=1).tags is not Point(x=1).tags


def test_a_missing_field_is_named() -> None:
    with pytest.raises(TypeError, match=r"Named has no value for x, name"):
        Named(y=1)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(TypeError, match=r"Point has no field z"):
        Point(x=1, z=2)


def test_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        Point(1)


def test_does_not_change() -> None:
    point = Point(x=1)
    with pytest.raises(FrozenInstanceError):
        point.x = 2
    with pytest.raises(FrozenInstanceError):
        point.z = 2
    with pytest.raises(FrozenInstanceError):
        del point.x
    assert point == Point(x=1)


def test_compares_by_content_within_its_class() -> None:
    assert Point(x=1) == Point(y=0, x=1)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Named(x=1, name="here")
    assert Point(x=1) != (1, 0, [])


def test_equal_values_have_equal_hashes() -> None:
    one, other = (Point(x=1, tags=()), Point(tags=(), x=1))
    assert hash(one) == hash(other)
    assert len({one, other, Point(x=2, tags=())}) == 2


def test_a_value_that_holds_a_list_has_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(x=1))


def test_inherits_fields() -> None:
    assert [one.name for one in fields(Named)] == ["x", "y", "tags", "name"]
    assert [one.name for one in fields(Point)] == ["x", "y", "tags"]


def test_is_a_dataclass_to_dataclasses() -> None:
    assert is_dataclass(Point)
    assert asdict(Point(x=1, tags=["a"])) == {"x": 1, "y": 0, "tags": ["a"]}
    assert replace(Point(x=1, y=2), y=3) == Point(x=1, y=3)
    with pytest.raises(TypeError, match="no field z"):
        replace(Point(x=1), z=3)


def test_reads_as_a_dataclass_does() -> None:
    assert repr(Point(x=1, tags=["a"])) == repr(Peer(x=1, tags=["a"])).replace("Peer", "Point")


def test_can_be_copied_and_pickled() -> None:
    value = Named(x=1, name="here", tags=["a"])
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - made on the line above


def test_can_be_taken_apart_by_match() -> None:
    match Named(x=1, name="here"):
        case Point(x=1, y=found):
            assert found == 0
        case _:
            pytest.fail("no match")
