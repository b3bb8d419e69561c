"""The pip half of a prefix with real packages: wheels, sdists, git and projects."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest
from prefixes import Bench, conda_package, contents, from_index

from reespack.errors import HashMismatchError, InstallError
from reespack.products import FileChange, LockedPip


def test_wheels_are_installed_as_pip_would_from_an_index(bench: Bench) -> None:
    six = from_index("six==1.17.0", bench.python)
    toolz = from_index("toolz==1.0.0", bench.python)
    conda_package(
        bench.handmade,
        "managed",
        {f"lib/python{bench.python}/EXTERNALLY-MANAGED": b"[externally-managed]\nError=no\n"},
    )
    prefix = bench.make(bench.with_python("managed"), [six, toolz])
    assert prefix.wheels == (six, toolz)
    assert prefix.changes == ()
    assert bench.run("python", "-c", "import six, toolz; print(six.__version__)") == "1.17.0"
    metadata = bench.site / "six-1.17.0.dist-info"
    assert (metadata / "INSTALLER").read_text() == "uv"
    assert not (metadata / "direct_url.json").exists()
    listed = bench.run("python", "-m", "pip", "freeze").splitlines()
    assert "six==1.17.0" in listed
    for line in (metadata / "RECORD").read_text().splitlines():
        assert (bench.site / line.split(",")[0]).exists()
    assert "direct_url" not in (metadata / "RECORD").read_text()


@pytest.mark.parametrize("known", [True, False])
def test_an_overriding_distribution_takes_the_place_of_condas(bench: Bench, known: bool) -> None:
    attrs = dataclasses.replace(from_index("attrs==24.2.0", bench.python), overrides=known)
    prefix = bench.make(bench.with_python("attrs"), [attrs])
    version = "import importlib.metadata as m; print(m.version('attrs'))"
    assert bench.run("python", "-c", version) == "24.2.0"
    assert [one.name for one in bench.site.glob("attrs-*")] == ["attrs-24.2.0.dist-info"]
    record = bench.records()["attrs"]
    assert record["version"] != "24.2.0"
    changed = {(one.change, one.path) for one in prefix.changes}
    site = bench.site.relative_to(bench.path).as_posix()
    old = f"{site}/attrs-{record['version']}.dist-info/METADATA"
    assert ("deleted", old) in changed
    assert any(change == "changed" for change, _ in changed)
    assert {(one.by, one.package) for one in prefix.changes} == {("pip", "attrs")}
    assert {path for _, path in changed} <= set(record["files"])


def test_a_wheel_that_overwrites_a_conda_file_is_reported(bench: Bench) -> None:
    path = f"lib/python{bench.python}/site-packages/six.py"
    conda_package(bench.handmade, "clobber", {path: b"conda's\n"})
    kept = contents(bench.cache / "packages") if (bench.cache / "packages").exists() else {}
    prefix = bench.make(bench.with_python("clobber"), [from_index("six==1.17.0", bench.python)])
    assert prefix.changes == (FileChange(path=path, change="changed", by="pip", package="six"),)
    cached = bench.cache / "packages/clobber-1.0-0" / path
    assert cached.read_text() == "conda's\n"
    now = contents(bench.cache / "packages")
    assert {name: now[name] for name in kept if "/info/" in name} == {
        name: digest for name, digest in kept.items() if "/info/" in name
    }


def test_a_wheel_with_another_hash_is_refused(bench: Bench) -> None:
    six = from_index("six==1.17.0", bench.python)
    wrong = dataclasses.replace(six, sha256="0" * 64)
    expected = f"six is not .*expected sha256:0{{64}}, got sha256:{six.sha256}"
    with pytest.raises(HashMismatchError, match=expected):
        bench.make(bench.with_python(), [wrong])


def test_a_url_that_is_gone_is_looked_for_in_the_index_by_its_hash(bench: Bench) -> None:
    six = from_index("six==1.17.0", bench.python)
    gone = dataclasses.replace(six, url=f"http://127.0.0.1:9/{six.url.rsplit('/', 1)[1]}")
    bench.make(bench.with_python(), [gone])
    assert bench.run("python", "-c", "import six; print(six.__version__)") == "1.17.0"


def test_sources_become_wheels_the_same_each_time_and_leave_no_trace(bench: Bench) -> None:
    bench.project()
    sources = [
        from_index("toolz==1.0.0", bench.python, "sdist"),
        LockedPip(name="mine", version="0.1", url="mine", kind="project"),
    ]
    before = contents(bench.top)
    conda = bench.with_python()
    first = bench.make(conda, sources)
    assert bench.run("python", "-c", "import mine, toolz; print(mine.answer)") == "42"
    assert "toolz==1.0.0" in bench.run("python", "-m", "pip", "freeze").splitlines()
    assert "mine==0.1" in bench.run("python", "-m", "pip", "freeze").splitlines()
    assert contents(bench.top) == before
    second = bench.make(conda, sources, name="second")
    assert first.wheels == second.wheels
    assert all(one.sha256 and one.sha256 != two.sha256
               for one, two in zip(first.wheels, sources, strict=True))  # fmt: skip
    assert sorted(path.name for path in bench.folder.iterdir()) == [
        "env",
        "repo",
        "requirements.in",
        "second",
    ]


def test_a_project_that_cannot_be_built_is_an_error_with_its_output(bench: Bench) -> None:
    bench.write("mine/setup.py", "raise SystemExit('not today')\n")
    mine = LockedPip(name="mine", version="0.1", url="mine", kind="project")
    with pytest.raises(InstallError, match=r"no wheel could be built of mine 0\.1") as caught:
        bench.make(bench.with_python(), [mine])
    assert "not today" in str(caught.value.detail)


def test_a_git_source_keeps_its_origin(bench: Bench) -> None:
    bench.project("origin")
    origin = bench.top / "origin"
    git = ["git", "-C", str(origin), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    url = f"git+{origin.as_uri()}@{commit}"
    bench.make(bench.with_python(), [LockedPip(name="mine", version="0.1", url=url, kind="git")])
    said = json.loads((bench.site / "mine-0.1.dist-info/direct_url.json").read_text())
    assert said == {"url": origin.as_uri(), "vcs_info": {"vcs": "git", "commit_id": commit}}


def test_pip_requirements_without_python_are_an_error(bench: Bench) -> None:
    conda_package(bench.handmade, "tool", {"share/tool": b"good"})
    with pytest.raises(InstallError, match="no Python in the environment"):
        bench.make(bench.conda("tool"), [from_index("six==1.17.0", bench.python)])
