from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reespack.errors import PostBuildError, RepositoryError
from reespack.model import Repository
from reespack.package_index import PackageIndex
from reespack.prefix.post_build import PostBuild, run_post_build
from reespack.prefix.wheels import WheelBuilder
from reespack.products import FileChange
from reespack.progress import Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator


class Listener(Quiet):
    """Keeps what the hook prints."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def output(self, line: str) -> None:
        self.lines.append(line)


class Bench:
    """A repository with a hook, and an environment that has no Python yet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "env"
        self.top = folder / "repo"
        self.scratch = folder / "work"
        for made in (self.path / "bin", self.path / "conda-meta", self.top, self.scratch):
            made.mkdir(parents=True)
        self.listener = Listener()

    def hook(self, content: str, name: str = "postBuild") -> None:
        (self.top / name).write_text(content)

    def run(self, name: str = "postBuild", timeout: float | None = 60) -> PostBuild:
        repository = Repository(root=self.top, top=self.top, name="repo", source="repo")
        builder = WheelBuilder(
            prefix=self.path,
            repository=repository,
            index=PackageIndex(),
            cache=self.scratch,
            scratch=self.scratch,
            when=0,
            timeout=timeout,
            threads=1,
            progress=self.listener,
        )
        return run_post_build(
            name,
            path=self.path,
            repository=repository,
            builder=builder,
            index=PackageIndex(),
            scratch=self.scratch,
            timeout=timeout,
            progress=self.listener,
        )

    def printed(self, content: str) -> list[str]:
        self.hook(content)
        self.run()
        return self.listener.lines


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@contextmanager
def all_gone(marker: Path) -> Iterator[None]:
    """Check that the process whose id the hook wrote to `marker` does not live on."""
    yield
    status = Path("/proc", marker.read_text().strip(), "stat")
    for _ in range(100):
        # Z: dead, and only waits for its parent to take notice.
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"{status} is still there")


def test_a_script_without_x_bit_runs_in_a_copy_of_the_repository(bench: Bench) -> None:
    (bench.top / "data").write_text("mine")
    bench.hook('#!/bin/sh\necho "$PWD" "$REPO_DIR"\necho theirs > data\n')
    result = bench.run()
    copy = bench.scratch / "repository/repo"
    assert bench.listener.lines == [f"{copy} {copy}"]
    assert (bench.top / "data").read_text() == "mine"
    assert not os.access(bench.top / "postBuild", os.X_OK)
    (note,) = result.notes
    assert "data" in note.message
    assert note.level == "info"


def test_without_a_first_line_bash_takes_it(bench: Bench) -> None:
    assert bench.printed("words=(one two)\necho ${words[1]}\n") == ["two"]


def test_any_program_may_be_the_hook(bench: Bench) -> None:
    assert bench.printed("#!/usr/bin/env -S awk -f\nBEGIN { print 6 * 7 }\n") == ["42"]


def test_it_sees_the_environment_and_nothing_of_the_callers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("VIRTUAL_ENV", "/venv")
    monkeypatch.setenv("PATH", "/venv/bin:" + os.environ["PATH"])
    lines = bench.printed(
        "#!/bin/sh\n"
        'echo "$CONDA_PREFIX $CONDA_DEFAULT_ENV $NB_PYTHON_PREFIX $KERNEL_PYTHON_PREFIX"\n'
        'echo "${PYTHONPATH-none} ${PIP_USER-none} ${VIRTUAL_ENV-none}"\n'
        'echo "$PATH"\necho "$HOME"\necho "$TMPDIR"; test -d "$TMPDIR"\n'
    )
    env, path = str(bench.path), lines[2].split(":")
    assert lines[0] == f"{env} {env} {env} {env}"
    assert lines[1] == "none none none"
    assert path[0] == f"{env}/bin"
    assert "/venv/bin" not in path
    assert lines[3:] == [str(bench.scratch / "home"), str(bench.scratch / "tmp")]


def test_pip_is_told_of_the_index_and_of_the_users_own_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.pip").mkdir(parents=True)
    (tmp_path / "home/.pip/pip.conf").write_text("[global]\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    lines = bench.printed('#!/bin/sh\necho "$PIP_CONFIG_FILE"\n')
    assert lines == [str(tmp_path / "home/.pip/pip.conf")]


def test_what_it_changes_and_leaves_behind_is_reported(bench: Bench) -> None:
    (bench.path / "bin/tool").write_text("old")
    bench.hook(
        "#!/bin/sh\n"
        'rm "$CONDA_PREFIX/bin/tool"\n'
        'mkdir "$CONDA_PREFIX/share"; echo new > "$CONDA_PREFIX/share/new"\n'
        "mkdir -p ~/.jupyter ~/.cache/pip/http; touch ~/.jupyter/config ~/.cache/pip/http/x\n"
    )
    result = bench.run()
    assert result.changes == (
        FileChange(path="bin/tool", change="deleted", by="postBuild"),
        FileChange(path="share/new", change="added", by="postBuild"),
    )
    assert result.leftovers == (".cache/", ".jupyter/config")
    (note,) = result.notes
    assert ".jupyter/config" in note.message


def test_a_failure_has_the_end_of_the_output(bench: Bench) -> None:
    bench.hook("#!/bin/sh\nseq 100\necho why >&2\nexit 7\n")
    with pytest.raises(PostBuildError, match=r"^postBuild ended with exit code 7$") as caught:
        bench.run()
    assert caught.value.detail is not None
    assert caught.value.detail.endswith("99\n100\nwhy")
    assert caught.value.exit_code == 52


def test_hanging_ends_with_all_that_was_started(bench: Bench, tmp_path: Path) -> None:
    marker = tmp_path / "id"
    bench.hook(f"#!/bin/sh\nsleep 600 &\necho $! > {marker}\nsleep 600\n")
    with (
        all_gone(marker),
        pytest.raises(PostBuildError, match="took too long") as caught,
    ):
        bench.run(timeout=0.5)
    assert "--timeout" in str(caught.value.hint)


def test_daemons_do_not_outlive_a_good_run(bench: Bench, tmp_path: Path) -> None:
    marker = tmp_path / "id"
    bench.hook(f"#!/bin/sh\nsleep 600 &\necho $! > {marker}\n")
    with all_gone(marker):
        bench.run()


def test_being_killed_says_by_what(bench: Bench) -> None:
    bench.hook("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(PostBuildError, match="was killed by SIGKILL") as caught:
        bench.run()
    assert "memory" in str(caught.value.hint)


def test_a_killed_command_of_the_hooks_is_told_apart(bench: Bench) -> None:
    bench.hook("#!/bin/bash\nset -e\nsh -c 'kill -9 $$'\n")
    with pytest.raises(PostBuildError, match=r"exit code 137 \(killed by SIGKILL\)"):
        bench.run()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("#!/bin/bash\r\necho hi\r\n", "Unix line ends"),
        ("cd /\r\nexport X\r\nfi\r\n", "Unix line ends"),
        ("#!/opt/never/there\n", "first line"),
        ("#!/bin/bash\nconda install x\n", "environment.yml"),
        ("#!/bin/bash\nsudo apt-get install x\n", "apt.txt"),
        ("#!/bin/bash\nnever-heard-of-it\n", "missing command"),
    ],
)
def test_common_mistakes_have_a_hint(
    bench: Bench, content: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A PATH on which neither conda nor sudo can be.
    monkeypatch.setenv("PATH", str(bench.scratch / "bin"))
    (bench.scratch / "bin").mkdir()
    for name in ("bash", "env"):
        (bench.scratch / "bin" / name).symlink_to(f"/bin/{name}")
    (bench.top / "postBuild").write_bytes(content.encode())
    with pytest.raises(PostBuildError) as caught:
        bench.run()
    assert words in str(caught.value.hint)


def test_a_hook_may_be_a_link_but_not_out_of_the_repository(bench: Bench, tmp_path: Path) -> None:
    bench.hook("#!/bin/sh\necho linked\n", "real")
    (bench.top / "postBuild").symlink_to("real")
    assert bench.run().changes == ()
    assert bench.listener.lines == ["linked"]
    (tmp_path / "other").write_text("#!/bin/sh\n")
    (bench.top / "out").symlink_to(tmp_path / "other")
    bench.scratch = tmp_path / "work2"
    bench.scratch.mkdir()
    with pytest.raises(RepositoryError):
        bench.run("out")
    assert not os.access(tmp_path / "other", os.X_OK)
