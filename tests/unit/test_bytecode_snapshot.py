from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reespack.bytecode.snapshot import with_own_bundles
from reespack.errors import PackError
from reespack.products import Bytecode

if TYPE_CHECKING:
    from pathlib import Path


def bytecode(file: Path, offset: int) -> Bytecode:
    return Bytecode(
        path="c", source="s", source_sha256="0", file=file, offset=offset, size=1, sha256="0"
    )


@pytest.mark.parametrize("linked", [True, False])
def test_a_bundle_that_is_replaced_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in "xy":
        (shelf / name).write_text(name)
    wanted = [bytecode(shelf / name, offset) for name in "xy" for offset in (0, 1)]
    own = with_own_bundles(wanted, tmp_path / "own")
    (shelf / "new").write_text("other")
    (shelf / "new").replace(shelf / "x")
    (shelf / "y").unlink()
    assert [(one.file.read_text(), one.offset) for one in own] == [
        *(("x", 0), ("x", 1), ("y", 0), ("y", 1))
    ]


def test_a_bundle_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"bytecode cannot be kept: .*gone"):
        with_own_bundles([bytecode(tmp_path / "gone", 0)], tmp_path / "own")
