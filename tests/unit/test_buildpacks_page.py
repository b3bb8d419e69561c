"""The buildpack in docs/buildpacks.md works as it is printed, and keeps the contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reespack.errors import MalformedFileError
from reespack.testing import check_buildpack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "buildpacks.md"


@pytest.fixture
def printed() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    return names


def test_its_own_test_passes(printed: dict[str, Any], tmp_path: Path) -> None:
    printed["test_contract"](tmp_path)


def test_its_error_names_file_and_line(printed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "packages.txt").write_text("numpy\npandas scipy\n")
    with pytest.raises(MalformedFileError, match=r"packages\.txt:2: one package a line"):
        check_buildpack(printed["PackagesTxt"](), tmp_path)
