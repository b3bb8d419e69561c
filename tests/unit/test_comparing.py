from __future__ import annotations

from typing import Any

import pytest

from reespack.archive.listing import Member
from reespack.comparing import Difference, compare, compare_members

ONE, OTHER = "1" * 64, "2" * 64


def manifest(digest: str = ONE, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    made: dict[str, Any] = {
        "$schema": "s",
        "format_version": 1,
        "name": "demo",
        "key": digest[:12],
        "platform": "linux-64",
        "tool": {"name": "reespack", "version": "0.1"},
        "repository": {"name": "demo", "url": None, "commit": None, "dirty": False, "subdir": ""},
        "buildpacks": [{"id": "conda", "version": "1"}],
        "files": [{"path": "environment.yml", "verdict": "used", "sha256": ONE, "reason": ""}],
        "lock": {
            "sha256": ONE,
            "given": False,
            "virtual_packages": [{"name": "__glibc", "version": "2.28", "build": "0"}],
        },
        "channels": ["conda-forge"],
        "conda": [{"name": "six", "version": "1.16", "build": "0", "sha256": ONE}],
        "pip": [],
        "changes": [],
        "leftovers": [],
        "contents": {"size": 1, "files": 1, "tree_digest": digest},
        "kernelspecs": [{"name": "demo", "display_name": "d", "language": "python", "path": "p"}],
        "variables": {"A": "1"},
        "post_build": None,
        "start": None,
        "notes": [],
    }
    return {**made, **changes}


def test_equal_manifests_need_no_list_of_files() -> None:
    found = compare(manifest(), manifest())
    assert found.equal
    assert found.files == ()


def test_how_it_is_packed_is_no_difference() -> None:
    first = manifest(archive={"file": "a.tar.gz", "format": "tar.gz", "size": 1, "sha256": ONE})
    second = manifest(key="abcdef012345")
    assert compare(first, second).equal


def test_other_trees_are_not_equal_even_when_no_list_says_why() -> None:
    found = compare(manifest(), manifest(OTHER))
    assert found.files is None
    assert not found.equal


@pytest.mark.parametrize(
    ("changed", "name", "first", "second"),
    [
        ({"variables": {"A": "2"}}, "variable A", "1", "2"),
        ({"variables": {}}, "variable A", "1", None),
        ({"platform": "linux-aarch64"}, "platform", "linux-64", "linux-aarch64"),
        ({"tool": {"name": "reespack", "version": "0.2"}}, "made by", None, None),
        ({"post_build": "postBuild"}, "postBuild", None, "postBuild"),
        ({"start": "start"}, "start", "null", "start"),
        ({"channels": ["a", "b"]}, "channels", "conda-forge", "a b"),
        ({"kernelspecs": []}, "kernel demo", "d (python)", None),
        ({"leftovers": ["x"]}, "left in HOME", None, "x"),
        ({"notes": [{"level": "info", "message": "m"}]}, "notes", None, "m"),
        ({"later": {"field": 1}}, "later", None, '{"field": 1}'),
        ({"lock": {"sha256": OTHER, "given": False, "virtual_packages": []}}, "lock", ONE, OTHER),
    ],
)
def test_each_setting_that_differs_is_named(
    changed: dict[str, Any], name: str, first: str | None, second: str | None
) -> None:
    found = compare(manifest(), manifest(**changed))
    (one,) = [one for one in found.settings if one.name == name]
    if (first, second) != (None, None):
        assert (one.first, one.second) == (first, second)
    assert not found.equal


def test_packages_stand_side_by_side_and_digests_only_where_nothing_else_differs() -> None:
    first = [
        {"name": "gone", "version": "1", "build": "0", "sha256": ONE},
        {"name": "same", "version": "1", "build": "0", "sha256": ONE},
        {"name": "newer", "version": "1", "build": "0", "sha256": ONE},
        {"name": "rebuilt", "version": "1", "build": "0", "sha256": ONE},
    ]
    second = [
        {"name": "same", "version": "1", "build": "0", "sha256": ONE},
        {"name": "newer", "version": "2", "build": "0", "sha256": OTHER},
        {"name": "rebuilt", "version": "1", "build": "0", "sha256": OTHER},
        {"name": "added", "version": "3", "build": "0", "sha256": OTHER},
    ]
    found = compare(manifest(conda=first), manifest(conda=second)).conda
    assert found == (
        Difference(name="added", first=None, second="3 0"),
        Difference(name="gone", first="1 0", second=None),
        Difference(name="newer", first="1 0", second="2 0"),
        Difference(name="rebuilt", first=f"1 0 sha256={ONE}", second=f"1 0 sha256={OTHER}"),
    )


def test_what_differs_in_each_file_is_said() -> None:
    first = [
        Member("content", "0644", 1, ONE),
        Member("gone", "0644", 1, ONE),
        Member("kind", "dir", 0, "-"),
        Member("link", "link", 0, "a"),
        Member("mode", "0644", 1, ONE),
        Member("same", "0644", 1, ONE),
    ]
    second = [
        Member("added", "0644", 1, ONE),
        Member("content", "0755", 1, OTHER),
        Member("kind", "link", 0, "-"),
        Member("link", "outside", 0, "/b"),
        Member("mode", "0755", 1, ONE),
        Member("same", "0644", 1, ONE),
    ]
    assert [(one.path, one.what) for one in compare_members(first, second)] == [
        ("added", "only in the second"),
        ("content", "content"),
        ("gone", "only in the first"),
        ("kind", "kind"),
        ("link", "content"),
        ("mode", "mode"),
    ]


def test_archives_that_differ_in_nothing_but_their_bytes_differ() -> None:
    equal = compare(manifest(), manifest())
    assert equal.with_sums(ONE, ONE).equal
    found = equal.with_sums(ONE, OTHER)
    assert not found.equal
    assert found.settings == (Difference(name="the archive's bytes", first=ONE, second=OTHER),)
