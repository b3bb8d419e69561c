from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reespack.channel.aliases import alias_packages, conda_names, parse_alias
from reespack.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "aliases"),
    [
        ("matplotlib", ("matplotlib-base",)),
        ("torch", ("pytorch", "pytorch-cpu")),
        ("tables", ("pytables",)),
        ("jupyter-client", ("jupyter_client",)),
        ("ruamel-yaml", ("ruamel.yaml",)),
        ("opencv-python-headless", ("opencv", "py-opencv")),
        ("pillow", ()),
        ("scikit-learn", ()),
    ],
)
def test_conda_forge_names(name: str, aliases: tuple[str, ...]) -> None:
    assert conda_names(name) == aliases


def test_an_alias_is_a_pair() -> None:
    assert parse_alias("Matplotlib-base = Matplot.Lib") == ("matplotlib-base", "matplot-lib")


@pytest.mark.parametrize("text", ["a", "a=", "=b", "", "a==1.0", "a=b=c"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an alias"):
        parse_alias(text)


def names(made: list[tuple[Path, bool]]) -> list[str]:
    return [path.name for path, _ in made]


def test_each_version_gets_its_metapackage_once(tmp_path: Path) -> None:
    have = [("tables", "3.9"), ("tables", "3.10"), ("six", "1.0")]
    made = list(alias_packages(have, [("sechs", "six")], tmp_path))
    assert names(made) == [
        "sechs-1.0-alias_six_0.conda",
        "pytables-3.10-alias_tables_0.conda",
        "pytables-3.9-alias_tables_0.conda",
    ]
    assert [new for _, new in made] == [True, True, True]
    assert [new for _, new in alias_packages(have, [], tmp_path)] == [False, False]


def test_a_name_that_an_earlier_run_made_is_known(tmp_path: Path) -> None:
    (tmp_path / "noarch").mkdir()
    (tmp_path / "noarch" / "two-words-2.0-pyh0_0.conda").touch()
    made = list(alias_packages([], [("zwei", "two-words")], tmp_path))
    assert names(made) == ["zwei-2.0-alias_two_words_0.conda"]


def test_an_unknown_target_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing-like-it"):
        list(alias_packages([("six", "1.0")], [("x", "nothing-like-it")], tmp_path))


def test_a_distribution_is_not_hidden_by_an_alias(tmp_path: Path) -> None:
    have = [("psycopg2", "2.9"), ("psycopg2-binary", "2.9")]
    assert list(alias_packages(have, [], tmp_path)) == []
    with pytest.raises(UsageError, match="own name"):
        list(alias_packages(have, [("psycopg2", "psycopg2-binary")], tmp_path))
