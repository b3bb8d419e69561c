"""Every case below fixtures/rees gives the verdicts, the spec or the error that it states."""

from __future__ import annotations

from typing import Any

import pytest
from rees_cases import CASES, Case, all_cases, outcome

from reespack.registry import load_buildpacks

BUILDPACKS = load_buildpacks()
ALL = all_cases()


def test_every_folder_states_what_it_expects() -> None:
    stated = {case.name for case in ALL}
    assert stated == {path.name for path in CASES.iterdir() if path.is_dir()}
    assert len(stated) > 100


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    found = outcome(case, BUILDPACKS)
    expected = dict(case.expected)
    if "error" in expected:
        error = expected.pop("error")
        assert "error" in found, found
        actual = found.pop("error")
        assert actual["exit_code"] == error["exit_code"], actual
        for part in ("message", "hint", "detail"):
            assert error.get(part, "") in actual.get(part, ""), actual
        if "files" not in expected:
            found.pop("files", None)
    assert found == expected


@pytest.mark.parametrize(
    "case",
    [case for case in ALL if case.expected.get("error", {}).get("exit_code") == 22],
    ids=lambda case: case.name,
)
def test_a_malformed_file_is_named_in_one_line(case: Case) -> None:
    message: Any = outcome(case, BUILDPACKS)["error"]["message"]
    assert "\n" not in message
    path = message.split(":")[0]
    assert (case.root / path).is_symlink() or (case.root / path).is_file()
