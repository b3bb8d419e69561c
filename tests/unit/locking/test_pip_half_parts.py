from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.metadata import Metadata

from reespack.locking.halves import _named, _specifier
from reespack.locking.pip_half import PipRequest, PipResult, _edges, git_reference, name_of
from reespack.locking.provided import _METADATA, Provided, write_stub
from reespack.locking.pylock import distributions
from reespack.model import Origin, PipOptions, PipRequirement

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = Origin(file="requirements.txt", line=1)


@pytest.mark.parametrize(
    ("path", "name", "version"),
    [
        ("site-packages/six-1.17.0.dist-info/METADATA", "six", "1.17.0"),
        ("lib/python3.11/site-packages/ruamel.yaml-0.18.dist-info/METADATA", "ruamel.yaml", "0.18"),
        ("site-packages/old_dist-1.0-py3.9.egg-info/PKG-INFO", "old_dist", "1.0"),
        ("lib/python3.9/site-packages/one_file-2.1-py3.9.egg-info", "one_file", "2.1"),
        ("site-packages/torch-2.3.0+cpu.dist-info/METADATA", "torch", "2.3.0+cpu"),
    ],
)
def test_a_distribution_is_known_by_its_metadata(path: str, name: str, version: str) -> None:
    match = _METADATA.search(path)
    assert match is not None
    assert (match["name"], match["version"]) == (name, version)


@pytest.mark.parametrize(
    "path",
    [
        "site-packages/setuptools/_vendor/wheel-0.45.dist-info/METADATA",
        "site-packages/six-1.17.0.dist-info/RECORD",
        "share/six-1.17.0.dist-info/METADATA",
        "site-packages/six.py",
    ],
)
def test_vendored_copies_and_other_files_are_not_distributions(path: str) -> None:
    assert _METADATA.search(path) is None


def test_a_stub_says_a_version_and_extras_and_lies_in_one_place(tmp_path: Path) -> None:
    one = Provided(name="a-dist", version="1.0", package="a", url="", metadata="")
    lines = ("Provides-Extra: x", "Requires-Dist: more; extra == 'x'")
    path = write_stub(one, tmp_path, extras=lines)
    assert path.name == "a_dist-1.0-py3-none-any.whl"
    assert write_stub(one, tmp_path, extras=lines) == path
    assert write_stub(one, tmp_path) != path
    with zipfile.ZipFile(path) as wheel:
        content = wheel.read("a_dist-1.0.dist-info/METADATA")
    metadata = Metadata.from_email(content)
    assert (metadata.name, str(metadata.version), metadata.provides_extra) == (
        "a-dist",
        "1.0",
        ["x"],
    )


def test_who_needs_what_is_read_from_uvs_annotations() -> None:
    text = """\
certifi==2026.1.1         # via requests
gitted @ git+https://host.example/x@abc  # via -r requirements.txt
requests==2.34.2          # via -c constraints.txt, -r requirements.txt, Other_Dist[extra]
"""
    assert _edges(text) == {"certifi": ("requests",), "gitted": (), "requests": ("other-dist",)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x @ git+https://h.example/a/b.git", ("https://h.example/a/b.git", None)),
        ("x @ git+https://h.example/a/b@v1#subdirectory=c", ("https://h.example/a/b", "v1")),
        ("x @ git+ssh://git@h.example/a/b@feature/y", ("ssh://git@h.example/a/b", "feature/y")),
        ("git+file:///a/b@0123", ("file:///a/b", "0123")),
        ("x==1", None),
    ],
)
def test_git_urls_are_taken_apart(text: str, expected: tuple[str, str | None] | None) -> None:
    assert git_reference(text) == expected


def test_a_requirements_name() -> None:
    def named(text: str, **more: str) -> str | None:
        return name_of(PipRequirement(text=text, origin=ORIGIN, **more))  # type: ignore[arg-type]

    assert named("Foo.Bar[x]>=1") == "foo-bar"
    assert named("foo @ https://h.example/foo.whl") == "foo"
    assert named("./foo", path="foo") is None
    assert named("./foo", path="foo", name="Foo_Dist") == "foo-dist"


def test_what_an_explanation_speaks_of() -> None:
    text = "Because numpy==1.26.4 depends on a.b>=2, and you require my-numpy."
    assert _named(text, {"numpy", "a-b", "my-numpy", "require-x", "my"}) == {
        "numpy",
        "a-b",
        "my-numpy",
    }


def test_versions_that_conda_and_pip_say_alike() -> None:
    assert _specifier("numpy[x]>=1.20,<2; python_version>'3'") == "<2,>=1.20"
    assert _specifier("numpy") == ""
    assert _specifier("numpy===1") == ""
    assert _specifier("./path") == ""


def request(root: Path, *requirements: PipRequirement) -> PipRequest:
    return PipRequest(
        requirements=requirements,
        constraints=(),
        options=PipOptions(),
        root=root,
        platform="linux-64",
        python="3.11.7",
        glibc="2.17",
    )


def pylock(folder: Path, *files: str) -> PipResult:
    wheels = ", ".join(
        f'{{ url = "https://u:p@h.example/{file}", hashes = {{ sha256 = "{number:064}" }} }}'
        for number, file in enumerate(files)
    )
    text = f'[[packages]]\nname = "X_y"\nversion = "1.0"\nwheels = [{wheels}]\n'
    return PipResult(pylock=text, folder=folder, needed_by={})


def test_the_newest_usable_platform_tag_wins_and_then_the_build(tmp_path: Path) -> None:
    result = pylock(
        tmp_path,
        "x_y-1.0-py3-none-any.whl",
        "x_y-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
        "x_y-1.0-1-cp311-cp311-manylinux_2_12_x86_64.manylinux2010_x86_64.whl",
        "x_y-1.0-2-cp311-cp311-manylinux_2_12_x86_64.manylinux2010_x86_64.whl",
        "x_y-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "x_y-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
    )
    (one,) = distributions(result, request(tmp_path), provided={}, overrides=frozenset())
    assert one.url.startswith("https://h.example/x_y-1.0-2-cp311-cp311-manylinux_2_12")
    assert (one.name, one.kind, one.sha256) == ("x-y", "wheel", f"{3:064}")


def test_of_the_files_with_a_hash_that_is_asked_for_the_best_is_taken(tmp_path: Path) -> None:
    result = pylock(tmp_path, "x_y-1.0-py3-none-any.whl", "x_y-1.0-cp311-abi3-linux_x86_64.whl")
    asked = PipRequirement(text="x-y==1.0", name="x-y", hashes=(f"sha256:{0:064}",), origin=ORIGIN)
    (one,) = distributions(result, request(tmp_path, asked), provided={}, overrides=frozenset())
    assert one.url.endswith("py3-none-any.whl")
