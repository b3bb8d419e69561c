from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reespack.apt import load_apt_table
from reespack.buildpack import Contribution
from reespack.errors import DetectError, SpecError
from reespack.json_form import FORMAT, detection_to_json, spec_to_json, to_json
from reespack.languages import choose_version
from reespack.model import (
    ADDED,
    CondaRequirement,
    Detection,
    EnvironmentSpec,
    FileVerdict,
    LanguageVersion,
    LockfileInput,
    Origin,
    PipOptions,
    PipRequirement,
    Repository,
    Target,
    Verdict,
)
from reespack.spec import make_spec

HERE = Origin(file="environment.yml", line=2)


def conda(spec: str, name: str | None = None) -> CondaRequirement:
    return CondaRequirement(spec=spec, name=name or spec, origin=HERE)


def pip(name: str) -> PipRequirement:
    return PipRequirement(text=name, name=name, origin=Origin(file="requirements.txt", line=1))


def version(text: str, rank: int) -> LanguageVersion:
    return LanguageVersion(
        language="python", version=text, origin=Origin(file=f"rank-{rank}", line=1), rank=rank
    )


def detection(*contributions: Contribution, python: str = "3.12") -> Detection:
    root = Path("/nowhere")
    return Detection(
        repository=Repository(root=root, top=root, name="thing", source="."),
        target=Target(platform="linux-64", default_python=python),
        files=(FileVerdict(path="environment.yml", verdict=Verdict.USED, reason="x"),),
        contributions=tuple((f"pack-{i}", one) for i, one in enumerate(contributions)),
        buildpacks=(),
    )


def spec(*contributions: Contribution, **options: object) -> EnvironmentSpec:
    return make_spec(
        detection(*contributions),
        apt_table=load_apt_table(),
        **options,  # type: ignore[arg-type]
    )


def specs(found: EnvironmentSpec) -> list[str]:
    return [one.spec for one in found.conda]


def test_a_conda_environment_takes_its_kernel_from_the_channels() -> None:
    found = spec(Contribution(conda=(conda("numpy"),), languages=("python",)))
    assert specs(found) == ["numpy", "python=3.12", "pip", "ipykernel"]
    assert [one.origin for one in found.conda[1:]] == [ADDED] * 3
    assert found.pip == ()


def test_a_pip_repository_takes_its_kernel_from_the_index() -> None:
    found = spec(Contribution(pip=(pip("numpy"),), languages=("python",)))
    assert specs(found) == ["python=3.12", "pip"]
    assert [one.text for one in found.pip] == ["numpy", "ipykernel"]


def test_the_kernel_is_not_added_twice() -> None:
    by_pip = Contribution(conda=(conda("pip"),), pip=(pip("ipykernel"),), languages=("python",))
    assert "ipykernel" not in specs(spec(by_pip))


@pytest.mark.parametrize(
    ("contribution", "in_conda", "in_pip"),
    [
        (Contribution(conda=(conda("numpy"),)), ["jupyterlab", "jupyterhub-singleuser"], []),
        (Contribution(pip=(pip("numpy"),)), [], ["jupyterlab", "jupyterhub"]),
    ],
)
def test_a_server_comes_from_where_the_kernel_does(
    contribution: Contribution, in_conda: list[str], in_pip: list[str]
) -> None:
    found = spec(contribution, server=True)
    assert specs(found)[-2:] == in_conda or not in_conda
    assert [one.text for one in found.pip][-2:] == in_pip or not in_pip


def test_the_default_python_is_a_setting() -> None:
    found = make_spec(
        detection(Contribution(languages=("python",)), python="3.10"), apt_table=load_apt_table()
    )
    assert specs(found)[0] == "python=3.10"


def test_who_decides_on_the_version() -> None:
    versions = [version("3.9.*", 10), version("3.8.*", 100)]
    pinned, bare = conda("python>=3.11", "python"), conda("python")
    assert choose_version("python", [pinned], versions).chosen == pinned
    assert choose_version("python", [pinned], versions).ignored == tuple(reversed(versions))
    assert choose_version("python", [bare], versions).chosen == versions[1]
    assert choose_version("python", [bare], []).chosen == bare
    assert choose_version("python", [conda("conda-forge::python", "python")], []).chosen
    assert choose_version("python", [], []).chosen is None


def test_a_bare_python_leaves_the_choice_to_the_solver() -> None:
    found = spec(Contribution(conda=(conda("python"),), languages=("python",)))
    assert [one for one in specs(found) if one.startswith("python")] == ["python"]


def test_runtime_txt_fills_in_a_bare_python() -> None:
    found = spec(
        Contribution(conda=(conda("python"),), languages=("python",)),
        Contribution(language_versions=(version("3.9.*", 100),)),
    )
    assert "python 3.9.*" in specs(found)


def test_with_a_lock_nothing_is_added() -> None:
    lock = LockfileInput(path="conda-lock.yml", kind="conda-lock")
    found = spec(Contribution(conda=(conda("numpy"),), lockfile=lock, languages=("python",)))
    assert specs(found) == ["numpy"]
    assert found.lockfile == lock


def test_channels() -> None:
    named = Contribution(channels=(("bioconda", HERE), ("conda-forge", HERE)))
    assert spec(named, channels=("site", "bioconda")).channels == (
        "site",
        "bioconda",
        "conda-forge",
    )
    assert spec(Contribution(), default_channels=("ours",)).channels == ("ours",)
    assert spec(Contribution(), channels=("site",)).channels == ("site", "conda-forge")


def test_options_of_pip_are_merged() -> None:
    first = PipOptions(index_url="a", extra_index_urls=("b",), only_binary=("x",))
    second = PipOptions(extra_index_urls=("b", "c"), pre=True)
    found = spec(Contribution(pip_options=first), Contribution(pip_options=second))
    assert found.pip_options == PipOptions(
        index_url="a", extra_index_urls=("b", "c"), pre=True, only_binary=("x",)
    )


def test_two_buildpacks_with_a_post_build_contradict_each_other() -> None:
    with pytest.raises(SpecError, match="two buildpacks name a postBuild: a and b"):
        spec(Contribution(post_build="a"), Contribution(post_build="b"))


def test_nothing_used_is_an_error_unless_allowed() -> None:
    empty = replace(detection(), files=())
    with pytest.raises(DetectError, match="nothing to build from"):
        make_spec(empty, apt_table=load_apt_table())
    found = make_spec(empty, apt_table=load_apt_table(), allow_empty=True)
    assert specs(found) == ["python=3.12", "pip", "ipykernel"]


def test_another_language_alone_gets_no_python() -> None:
    found = spec(Contribution(conda=(conda("r-base"),), languages=("r",)))
    assert specs(found) == ["r-base"]
    assert found.languages == ("r",)


def test_json_form() -> None:
    found = spec(Contribution(conda=(conda("numpy"),), variables=(("A", "1"),)))
    form = json.loads(json.dumps(spec_to_json(found)))
    assert form["conda"][0] == {
        "spec": "numpy",
        "name": "numpy",
        "origin": {"file": "environment.yml", "line": 2},
    }
    assert form["variables"] == {"A": "1"}
    document = json.loads(json.dumps(detection_to_json(detection(), found)))
    assert document["format"] == FORMAT
    assert document["files"][0]["verdict"] == "used"
    assert set(document) == {
        "format",
        "repository",
        "platform",
        "buildpacks",
        "files",
        "notes",
        "spec",
    }


def test_json_form_refuses_what_it_does_not_know() -> None:
    assert to_json({"a": (Path("x"), Verdict.USED, None, 1.5)}) == {"a": ["x", "used", None, 1.5]}
    with pytest.raises(TypeError, match="set has no JSON form"):
        to_json({1})
