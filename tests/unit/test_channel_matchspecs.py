from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from reespack.channel.matchspecs import (
    conda_version,
    dependency,
    local_label,
    parse_requirement,
    python_range,
)

TRANSLATED = {
    "a": "a",
    "A_b.C": "a-b-c",
    "a==1.2": "a ==1.2",
    "a==1.2.*": "a 1.2.*",
    "a===1.2": "a ==1.2",
    "a!=1.2": "a !=1.2",
    "a!=1.2.*": "a !=1.2.*",
    "a~=1.4.2": "a >=1.4.2,1.4.*",
    "a~=1.4": "a >=1.4,1.*",
    "a~=1!2.0": "a >=1!2.0,1!2.*",
    "a>=1": "a >=1",
    "a>1.5": "a >1.5",
    "a<=1.5": "a <=1.5",
    "a<2": "a <2a0",
    "a<2.0.0": "a <2a0",
    "a<1!2.0": "a <1!2a0",
    "a<2.10": "a <2.10a0",
    "a<2.0rc1": "a <2.0rc1",
    "a<2.0.post1": "a <2.0.post1",
    "a<2.0.dev0": "a <2.0.dev0",
    "a>=1,<2,!=1.5": "a >=1,<2a0,!=1.5",
    "a<2,>=1": "a >=1,<2a0",
    "a==1.0+cpu": "a ==1.0 *_cpu",
    "a==1.0+CU118.2": "a ==1.0 *_cu118_2",
    "a!=1.0+cpu": "a",
    "a>=1.0-beta2": "a >=1.0b2",
    "a[x,y]>=1": "a >=1",
    "a @ https://example.org/a-1.0-py3-none-any.whl": "a",
}


@pytest.mark.parametrize(("requirement", "expected"), TRANSLATED.items())
def test_a_requirement_becomes_a_match_spec(requirement: str, expected: str) -> None:
    assert dependency(Requirement(requirement)) == expected


SPECIFIERS = (
    "==1.4",
    "==1.4.*",
    "===1.4",
    "!=1.4",
    "!=1.4.*",
    "~=1.4",
    "~=1.4.1",
    ">=1.4",
    "<=1.4",
    "<1.4",
    "<2",
    "<2.0.0",
    ">=1.4,<2,!=1.5",
    "<1!1.0",
)
VERSIONS = (
    *("0.9", "1.3.9", "1.4.dev1", "1.4a1", "1.4rc2", "1.4", "1.4.0", "1.4.1", "1.4.10", "1.5"),
    *("1.10", "1.99", "2.0.dev3", "2a1", "2.0a1", "2.0.0b1", "2.0rc1", "2.0", "2.0.1", "1!0.5"),
)


@pytest.mark.parametrize("specifier", SPECIFIERS)
def test_conda_admits_the_versions_that_pip_admits(specifier: str) -> None:
    from rattler import Version as CondaVersion
    from rattler import VersionSpec

    spec = dependency(Requirement(f"a{specifier}")).removeprefix("a ")
    admitted = {v for v in VERSIONS if VersionSpec(spec).matches(CondaVersion(conda_version(v)))}
    by_pip = SpecifierSet(specifier)
    if specifier == "===1.4":  # compares letters; conda, numbers
        by_pip = SpecifierSet("==1.4")
    assert admitted == {v for v in VERSIONS if by_pip.contains(v, prereleases=True)}


@pytest.mark.parametrize("specifier", ["<2.0rc1", ">=2.0a1", "==2.0b1"])
def test_pre_releases_of_one_release_are_ordered_alike(specifier: str) -> None:
    from rattler import Version as CondaVersion
    from rattler import VersionSpec

    # Between 2.0a1, 2.0.0a1 and 2.0.dev1 conda's order is another one: a known limit.
    versions = ("1.9", "2.0a1", "2.0a2", "2.0b1", "2.0rc1", "2.0rc2", "2.0", "2.1")
    spec = dependency(Requirement(f"a{specifier}")).removeprefix("a ")
    admitted = {v for v in versions if VersionSpec(spec).matches(CondaVersion(v))}
    assert admitted == {v for v in versions if Requirement(f"a{specifier}").specifier.contains(v)}


def test_post_releases_are_above_their_release() -> None:
    from rattler import Version as CondaVersion

    assert CondaVersion(conda_version("1.4.post1")) > CondaVersion(conda_version("1.4"))
    assert CondaVersion(conda_version("1.4.post1")) < CondaVersion(conda_version("1.4.1"))


@pytest.mark.parametrize(
    ("version", "conda", "label"),
    [
        ("1.0", "1.0", ""),
        ("1.0+cpu", "1.0", "cpu"),
        ("2.4.1+cu118.with.pypi-cudnn", "2.4.1", "cu118_with_pypi_cudnn"),
        ("1.0-RC1", "1.0rc1", ""),
        ("1!1.0", "1!1.0", ""),
        ("2024.01", "2024.1", ""),
    ],
)
def test_a_version_is_split_into_public_and_local(version: str, conda: str, label: str) -> None:
    assert conda_version(version) == conda
    assert local_label(version) == label
    assert str(Version(conda)) == conda


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("numpy (>=1.20)", "numpy>=1.20"),
        ("python-dateutil>=2.*", "python-dateutil>=2"),
        ("a>=3.6.*; python_version < '3.8'", 'a>=3.6; python_version < "3.8"'),
        ("a (nonsense)", "a"),
        ("a[x] >=what; extra == 'y'", 'a[x]; extra == "y"'),
    ],
)
def test_what_old_wheels_say_is_forgiven(text: str, expected: str) -> None:
    assert str(parse_requirement(text)) == str(Requirement(expected))


def test_a_line_without_a_name_is_none() -> None:
    assert parse_requirement(">=1.0") is None


@pytest.mark.parametrize(
    ("requires_python", "expected"),
    [
        (None, "python"),
        ("", "python"),
        (">=3.8", "python >=3.8"),
        (">=3.8,<4", "python >=3.8,<4a0"),
        (">=3.6.*", "python >=3.6"),
        ("!=3.0.*,!=3.1.*,>=2.7", "python >=2.7,!=3.0.*,!=3.1.*"),
        ("~=3.9", "python >=3.9,3.*"),
        ("whatever", "python"),
    ],
)
def test_requires_python_becomes_a_match_spec(requires_python: str | None, expected: str) -> None:
    assert python_range(requires_python) == expected
