"""What every error has: an exit code of its own, and something to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reespack.errors import (
    CatalogError,
    ConfigError,
    LockError,
    ReespackError,
    UnpackError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def below(kind: type[ReespackError]) -> Iterator[type[ReespackError]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


# The tests' own (reespack.testing) are not among them.
EVERY = sorted(
    {one for one in below(ReespackError) if one.__module__ == "reespack.errors"},
    key=lambda one: one.__name__,
)


def test_exit_codes_differ() -> None:
    codes = [one.exit_code for one in EVERY if one not in {ConfigError, CatalogError}]
    assert len(codes) == len(set(codes)) > 20
    assert not {0, 1, 130} & set(codes)


@pytest.mark.parametrize("kind", [UsageError, ConfigError, LockError, UnpackError])
def test_an_error_without_a_hint_has_its_kinds(kind: type[ReespackError]) -> None:
    assert kind("it is so").hint == kind.usual_hint
    assert kind.usual_hint
    assert kind("it is so", hint="do this").hint == "do this"
