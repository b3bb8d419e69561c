from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reespack.apt import built_in_rows, load_apt_table
from reespack.errors import ConfigError, UnmappedAptError
from reespack.model import Origin, SystemPackage
from reespack.spec.apt_requirements import map_system_packages

if TYPE_CHECKING:
    from pathlib import Path


def package(name: str, line: int = 1) -> SystemPackage:
    return SystemPackage(name=name, origin=Origin(file="apt.txt", line=line))


def test_every_counterpart_in_the_table_is_a_match_spec() -> None:
    from rattler import MatchSpec

    rows = built_in_rows()
    assert len(rows) > 700
    for row in rows.values():
        for spec in row.conda if row.kind == "conda" else ():
            MatchSpec(spec)


def test_the_heading_is_no_row() -> None:
    assert load_apt_table().look_up("apt_name") is None


def test_a_version_in_the_name_is_kept() -> None:
    row = load_apt_table().look_up("openjdk-17-jre")
    assert row is not None
    assert row.conda == ("openjdk=17",)


def test_debians_r_packages_follow_a_rule() -> None:
    table = load_apt_table()
    row = table.look_up("r-cran-never-heard-of")
    assert row is not None
    assert (row.kind, row.conda) == ("conda", ("r-never-heard-of",))
    assert table.look_up("never-heard-of") is None


def test_a_sites_rows_replace_the_built_in_ones(tmp_path: Path) -> None:
    site = tmp_path / "apt.tsv"
    site.write_text(
        "apt_name\tcount\tkind\tconda\tnote\n"
        "# ours\n"
        "cowsay\t0\tconda\tcowsay fortune-mod>=1\tours\n"
        "vim\t\tbase\n"
    )
    table = load_apt_table(site)
    cowsay, vim = table.look_up("cowsay"), table.look_up("vim")
    assert cowsay is not None
    assert vim is not None
    assert cowsay.conda == ("cowsay", "fortune-mod>=1")
    assert vim.kind == "base"
    assert table.look_up("nano") == load_apt_table().look_up("nano")


@pytest.mark.parametrize("row", ["cowsay\t0\tconada\tcowsay", "cowsay\t0\tconda\t", "cowsay"])
def test_a_row_that_makes_no_sense_names_its_line(tmp_path: Path, row: str) -> None:
    site = tmp_path / "apt.tsv"
    site.write_text(f"# ours\n{row}\n")
    with pytest.raises(ConfigError, match=r"apt\.tsv:2: is not a row"):
        load_apt_table(site)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_apt_table(tmp_path / "gone.tsv")


def test_unmapped_names_are_all_listed() -> None:
    names = [package("cowsay", 3), package("graphviz", 4), package("dvipng", 5)]
    with pytest.raises(UnmappedAptError) as caught:
        map_system_packages(names, table=load_apt_table(), policy="error")
    assert "cowsay, dvipng" in caught.value.message
    lines = str(caught.value.detail).splitlines()
    assert lines[0] == "apt.txt:3: cowsay"
    assert lines[1].startswith("apt.txt:5: dvipng (no conda-forge package found")


@pytest.mark.parametrize(("policy", "level"), [("warn", "warning"), ("ignore", "info")])
def test_unmapped_names_can_be_left_out(policy: str, level: str) -> None:
    found = map_system_packages(
        [package("cowsay"), package("graphviz")],
        table=load_apt_table(),
        policy=policy,  # type: ignore[arg-type]
    )
    assert [one.spec for one in found.conda] == ["graphviz"]
    assert [note.level for note in found.notes if "cowsay" in note.message] == [level]


def test_names_come_from_specs() -> None:
    found = map_system_packages(
        [package("libosmesa6"), package("libhdf5-openmpi-dev")],
        table=load_apt_table(),
        policy="error",
    )
    assert [(one.spec, one.name) for one in found.conda] == [
        ("mesalib<25.1", "mesalib"),
        ("hdf5=*=mpi_openmpi*", "hdf5"),
    ]
