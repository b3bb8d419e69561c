"""What must not work: one error line, a hint, the phase's exit code, and nothing left behind.

fixtures/rees holds every way in which a REES file can be malformed; here are the ways in which a
command can fail, through the command line alone. A good archive lies in the output folder all along
and stays as it is.
"""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest
from outputs import PLAIN, Output
from servers import Files, serving
from sites import Site, repository

if TYPE_CHECKING:
    from pathlib import Path


# --- the repository ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("nowhere", [], "there is no folder nowhere"),
        ("file:///nowhere/at/all.git", [], "/nowhere/at/all.git"),
        ("http://127.0.0.1:9/owner/name.git", [], "http://127.0.0.1:9/owner/name.git"),
        ("{repo}", ["--ref", "no-such-branch"], "no-such-branch"),
        ("{repo}@v9", [], "v1"),
        ("{repo}", ["--ref", "-x"], "'-x'"),
        ("{repo}", ["--subdir", "no-such-folder"], "no-such-folder"),
        ("{repo}", ["--subdir", "../.."], "leads out of the repository"),
        ("{repo}", ["--subdir", "/etc"], "leads out of the repository"),
        ("{repo}/README", [], "README"),
    ],
)
def test_repository_that_cannot_be_had(
    output: Output, tmp_path: Path, source: str, options: list[str], words: str
) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN, README="read me\n")
    commit(repo, "v1")
    assert words in output.refused(10, source.format(repo=repo), *options)


def commit(repo: Path, tag: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "-qm", "all"], ["tag", tag]):
        subprocess.run(["git", *words], check=True, cwd=repo)


@pytest.mark.parametrize("source", ["https://example.org/owner/name.git", "{repo}@main"])
def test_no_git(output: Output, tmp_path: Path, source: str) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    (repo / ".git").mkdir()
    env = {"PATH": str(tmp_path)}
    assert "git is needed" in output.refused(10, source.format(repo=repo), env=env)


def test_links_that_leave_the_repository(output: Output, tmp_path: Path) -> None:
    (tmp_path / "secret.yml").write_text(PLAIN)
    repo = repository(tmp_path / "repo")
    (repo / "environment.yml").symlink_to(tmp_path / "secret.yml")
    assert "environment.yml" in output.refused(10, repo)
    (repo / "environment.yml").unlink()
    (repo / "binder").symlink_to(tmp_path)
    assert "binder" in output.refused(10, repo)


# --- what it holds -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "options", "exit_code", "words"),
    [
        ({}, [], 20, "--allow-empty"),
        ({"environment__yml": "dependencies: [python\n"}, [], 22, "environment.yml:"),
        ({"environment__yml": "dependencies:\n\t- python\n"}, [], 22, "environment.yml:2"),
        ({"environment__yml": "dependencies: [python=4]\n"}, [], 42, "python"),
        ({"requirements__txt": "six=1.16\n"}, [], 22, "requirements.txt:1"),
        ({"requirements__txt": "-r ../x.txt\n"}, [], 22, "../x.txt"),
        ({"environment__yml": PLAIN, "postBuild": "#!/bin/sh\r\n"}, [], 22, "Windows line ends"),
        ({"environment__yml": PLAIN, "runtime__txt": "Python-3.9\n"}, [], 22, "runtime.txt"),
        ({"environment__yml": PLAIN, "apt__txt": "no-such\nnor-this\n"}, [], 31, "nor-this"),
        ({"Dockerfile": "FROM scratch\n"}, [], 23, "Dockerfile"),
        ({"environment__yml": PLAIN, "install__R": "x\n"}, [], 23, "install.R"),
        ({"environment__yml": PLAIN}, ["--locked"], 40, "reespack lock"),
        ({"conda-lock__yml": "version: 1\n"}, [], 22, "conda-lock.yml"),
    ],
)
def test_files_that_cannot_be_honoured(  # noqa: PLR0913, PLR0917 - as they are listed above
    output: Output,
    tmp_path: Path,
    files: dict[str, str],
    options: list[str],
    exit_code: int,
    words: str,
) -> None:
    assert words in output.refused(exit_code, repository(tmp_path / "repo", **files), *options)


def test_both_binder_folders(output: Output, tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    for name in ("binder", ".binder"):
        repository(repo / name, environment__yml=PLAIN)
    assert ".binder" in output.refused(20, repo)


# --- channels and packages ---------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/conda", "/no/such/folder", "{empty}"])
def test_channel_that_cannot_be_reached(output: Output, tmp_path: Path, url: str) -> None:
    repo = repository(tmp_path / "repo", environment__yml=f"channels: [ours]\n{PLAIN}")
    (tmp_path / "empty").mkdir()
    place = url.format(empty=tmp_path / "empty")
    said = output.refused(41, repo, "--channel-alias", f"ours={place}")
    assert f"channel ours ({place})" in said
    assert "--channel-alias ours=" in said


def test_misspelt_channel(output: Output, tmp_path: Path, wheelhouse: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "conda-forge").symlink_to(wheelhouse)
    repo = repository(tmp_path / "repo", environment__yml=f"channels: [conda-forgee]\n{PLAIN}")
    with serving(partial(Files, directory=str(tmp_path / "www"))) as url:
        (tmp_path / "condarc").write_text(f"channel_alias: {url}\n")
        said = output.refused(41, repo, env={"CONDARC": str(tmp_path / "condarc")})
    assert "channel conda-forgee" in said
    assert "--channel-alias conda-forgee=" in said


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"environment__yml": "dependencies: [python, toolzz]\n"}, "did you mean toolz"),
        ({"environment__yml": "dependencies:\n- python\n- six >=99\n"}, "environment.yml:3"),
        ({"requirements__txt": "\nno-such-distribution-anywhere\n"}, "requirements.txt:2"),
        ({"requirements__txt": "six<1.16\nsix>1.16\n"}, "requirements.txt:2"),
        # wheels for other Pythons only, and no source distribution
        ({"requirements__txt": "tensorflow==1.4.0\n"}, "requirements.txt:1"),
    ],
)
def test_packages_that_are_not_there(
    output: Output, tmp_path: Path, files: dict[str, str], words: str
) -> None:
    assert words in output.refused(42, repository(tmp_path / "repo", **files))


def test_sdist_that_cannot_be_built(output: Output, tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", requirements__txt="./broken\n")
    repository(repo / "broken", setup__py="raise SystemExit('this setup.py is broken')\n")
    said = output.refused(40, repo)
    assert "requirements.txt:1: broken cannot be built" in said
    assert "this setup.py is broken" in said


# --- sums --------------------------------------------------------------------------------------


def test_requirement_whose_hash_is_wrong(output: Output, tmp_path: Path) -> None:
    text = f"six==1.16.0 --hash=sha256:{'1' * 64}\n"
    said = output.refused(40, repository(tmp_path / "repo", requirements__txt=text))
    assert "requirements.txt:1" in said
    assert "six-1.16.0" in said


def test_wheel_that_is_not_the_one_that_was_locked(
    output: Output, site: Site, tmp_path: Path
) -> None:
    environment = f"{PLAIN[:-2]}, pip, {{pip: [tabulate==0.9.0]}}]\n"
    repo = repository(tmp_path / "repo", environment__yml=environment)
    site.succeed("lock", repo, "-o", repo / "conda-lock.yml")
    text = (repo / "conda-lock.yml").read_text()
    digest = "024ca478df22e9340661486f85298cff5f6dcdba14f3813e8830015b9ed1948f"
    assert digest in text
    (repo / "conda-lock.yml").write_text(text.replace(digest, "2" * 64))
    assert "tabulate" in output.refused(51, repo)


def test_tampered_conda_package(output: Output, tmp_path: Path, wheelhouse: Path) -> None:
    channel = tmp_path / "channel"
    for path in wheelhouse.glob("*/*"):
        target = channel / path.relative_to(wheelhouse)
        target.parent.mkdir(parents=True, exist_ok=True)
        if "repodata" not in path.name:
            target.symlink_to(path)
    for subdir in ("linux-64", "noarch"):
        repodata = json.loads((wheelhouse / subdir / "repodata.json").read_text())
        for name, record in repodata["packages.conda"].items():
            if record["name"] == "six":
                tampered = channel / subdir / name
                content = bytearray(tampered.read_bytes())
                tampered.unlink()
                tampered.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
                record["sha256"] = "3" * 64  # so that no cache has it
        (channel / subdir / "repodata.json").write_text(json.dumps(repodata))
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    said = output.refused(51, repo, "--channel-alias", f"conda-forge={channel}")
    assert "six" in said


# --- postBuild ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho the tide is high >&2\nexit 7\n", "exit code 7"),
        ("#!/bin/sh\nkill -9 $$\n", "killed by SIGKILL"),
        ("#!/bin/sh\nsleep 600 & sleep 600\n", "took too long"),
        ("#!/no/such/interpreter\n", "/no/such/interpreter"),
        ("#!/bin/sh\nno-such-command\n", "no-such-command"),
    ],
)
def test_post_build_that_fails(output: Output, tmp_path: Path, script: str, words: str) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    (repo / "postBuild").write_bytes(script.encode())
    timeout = ["--timeout", "2"] if "sleep" in script else []
    assert words in output.refused(52, repo, *timeout)


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "zip"],
        ["--with", "sever"],
        ["--apt", "maybe"],
        ["--threads", "0"],
        ["--threads", "many"],
        ["--timeout", "-1"],
        ["--default-python", "three"],
        ["--name", "a/b"],
        ["--channel-alias", "conda-forge"],
        ["--apt-table", "/no/such/table.tsv"],
        ["--locked", "--update-lock"],
        ["--verbose", "--quiet"],
        ["--no-such-option"],
        ["and-another-word"],
    ],
    ids=" ".join,
)
def test_options_that_cannot_be_right(output: Output, tmp_path: Path, options: list[str]) -> None:
    output.refused(2, repository(tmp_path / "repo", environment__yml=PLAIN), *options)


@pytest.mark.parametrize("command", ["detect", "lock"])
def test_platform_that_does_not_exist(site: Site, tmp_path: Path, command: str) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    said = site.fail(2, command, repo, "-p", "linux-65")
    assert "did you mean linux-64" in said


@pytest.mark.parametrize("words", [[], ["config"], ["channel"]], ids=" ".join)
def test_no_command(site: Site, words: list[str]) -> None:
    ended = site.run(*words)
    assert ended.returncode == 2
    assert ended.stderr.startswith("Usage: reespack")
    assert "error" not in ended.stderr


@pytest.mark.parametrize("variable", ["REESPACK_THREADS", "REESPACK_CASHE"])
def test_variables_that_cannot_be_right(site: Site, variable: str, tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    assert variable in site.fail(2, "detect", repo, env={variable: "many"})


# --- archives ----------------------------------------------------------------------------------


def damaged(archive: Path, folder: Path, how: str) -> Path:
    content = bytearray(archive.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    elif how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "flipped-at-the-start":
        content[100] ^= 1
    elif how == "empty":
        content.clear()
    elif how == "no-archive":
        content[:] = b"This is no archive.\n"
    path = folder / archive.name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("how", "exit_code"),
    [
        ("truncated", 71),
        ("flipped", 71),
        ("flipped-at-the-start", 71),
        ("empty", 70),
        ("no-archive", 70),
    ],
)
def test_archive_that_is_damaged(
    site: Site, archive: Path, tmp_path: Path, how: str, exit_code: int
) -> None:
    broken = damaged(archive, tmp_path, how)
    site.fail(exit_code, "unpack", broken, tmp_path / "environment")
    assert list(tmp_path.iterdir()) == [broken]
    site.fail(exit_code, "verify", broken)
    if how in {"empty", "no-archive", "flipped-at-the-start"}:
        site.fail(exit_code, "inspect", broken)


def test_archive_that_is_not_there(site: Site, tmp_path: Path) -> None:
    for words in (
        ["unpack", "nowhere.tar.zst", "x"],
        ["inspect", "nowhere"],
        ["verify", "nowhere"],
    ):
        assert "nowhere" in site.fail(70, *words)
    for command in ("inspect", "verify"):
        site.fail(70, command, tmp_path)


def test_unpacking_where_something_is(site: Site, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert "not empty" in site.fail(70, "unpack", archive, tmp_path)
    assert "mine" in site.fail(70, "unpack", archive, tmp_path / "mine")
    assert "/proc/x" in site.fail(70, "unpack", archive, "/proc/x")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
