from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from reespack.errors import RepositoryError, UsageError
from reespack.repository import content_digest, open_repository
from reespack.repository.git import without_secrets

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *args],
        cwd=folder,
        env={**os.environ, **IDENTITY},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def make_repository(folder: Path, files: dict[str, str]) -> str:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    return commit(folder, files)


def commit(folder: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


class Listener:
    """Collects what a phase tells."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str | None]] = []
        self.steps: list[str] = []

    def step(self, message: str) -> None:
        self.steps.append(message)

    def detail(self, message: str) -> None:
        pass

    def warn(self, message: str, *, hint: str | None = None) -> None:
        self.warnings.append((message, hint))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "My Repo"
    make_repository(folder, {"environment.yml": "one", "sub/x.txt": "x"})
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_plain_folder_has_no_commit_and_writes_nothing(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "plain").mkdir()
    found = open_repository(str(tmp_path / "plain"), cache=cache)
    assert (found.commit, found.commit_time, found.dirty) == (None, None, False)
    assert found.root == found.top == tmp_path / "plain"
    assert not cache.exists()


def test_a_checkout_records_commit_time_and_slug(repo: Path, cache: Path) -> None:
    found = open_repository(str(repo), cache=cache)
    assert found.commit == git(repo, "rev-parse", "HEAD")
    assert found.commit_time == 1700000000
    assert found.name == "My-Repo"
    assert not found.dirty
    assert not cache.exists()


@pytest.mark.parametrize(
    ("path", "dirty"),
    [
        ("sub/x.txt", True),
        ("apt.txt", True),
        ("binder/anything", True),
        ("notes.txt", False),
        ("dist/environment.yml", False),
    ],
)
def test_dirty_is_a_changed_file_or_an_untracked_one_that_decides(
    repo: Path, cache: Path, path: str, dirty: bool
) -> None:
    (repo / path).parent.mkdir(exist_ok=True)
    (repo / path).write_text("changed", encoding="utf-8")
    assert open_repository(str(repo), cache=cache).dirty is dirty


def test_reading_git_leaves_its_index_alone(repo: Path, cache: Path) -> None:
    (repo / "environment.yml").touch()
    before = (repo / ".git" / "index").stat().st_mtime_ns
    open_repository(str(repo), cache=cache)
    assert (repo / ".git" / "index").stat().st_mtime_ns == before


def test_a_folder_that_the_checkout_around_it_does_not_know(repo: Path, cache: Path) -> None:
    (repo / "scratch").mkdir()
    assert open_repository(str(repo / "scratch"), cache=cache).commit is None
    assert open_repository(str(repo / "sub"), cache=cache).commit is not None


def test_without_git_a_folder_does_and_says_so(
    repo: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    listener = Listener()
    assert open_repository(str(repo), cache=cache, progress=listener).commit is None
    assert "no git" in listener.warnings[0][0]
    with pytest.raises(RepositoryError, match="git is needed") as caught:
        open_repository(f"{repo}@main", cache=cache)
    assert "install git" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("origin", "recorded"),
    [
        ("https://me:secret@example.org/a/b.git", "https://example.org/a/b"),
        ("https://example.org/a/b/", "https://example.org/a/b"),
        ("git@example.org:a/b.git", "https://example.org/a/b"),
        ("ssh://git@example.org/a/b.git", "https://example.org/a/b"),
        ("http://example.org:8080/a/b.git", "http://example.org:8080/a/b"),
        ("me@host.example.org:a/b.git", "me@host.example.org:a/b.git"),
        ("ssh://git@host.example.org:2222/a/b", "ssh://git@host.example.org:2222/a/b"),
        ("/somewhere/else", None),
        ("file:///somewhere/else", None),
    ],
)
def test_the_origin_is_the_same_however_it_was_cloned(
    repo: Path, cache: Path, origin: str, recorded: str | None
) -> None:
    git(repo, "remote", "add", "origin", origin)
    assert open_repository(str(repo), cache=cache).url == recorded


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_checkout_is_read_and_nothing_of_it_is_run(
    repo: Path, cache: Path, tmp_path: Path
) -> None:
    mine = open_repository(str(repo), cache=cache)
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    git(repo, "config", "core.fsmonitor", str(trap))
    git(repo, "config", "log.showSignature", "true")
    git(repo, "config", "gpg.program", str(trap))
    git(repo, "config", "filter.evil.clean", str(trap))
    git(repo, "config", "filter.evil.required", "true")
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    for path in [repo, *repo.rglob("*")]:
        os.chown(path, 23456, 23456, follow_symlinks=False)
        if path.is_file() and ".git" not in path.parts:
            os.utime(path, (1, 1))  # so that git has to look at its content
    assert open_repository(str(repo), cache=cache) == mine
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("form", ["{repo}@{ref}", "file://{repo}@{ref}", "git+file://{repo}@{ref}"])
@pytest.mark.parametrize("ref", ["v1", "feature/x", "annotated"])
def test_a_ref_becomes_a_clean_checkout(tmp_path: Path, cache: Path, form: str, ref: str) -> None:
    repo = tmp_path / "repo"
    first = make_repository(repo, {"a.txt": "first"})
    git(repo, "tag", "v1")
    git(repo, "branch", "feature/x")
    git(repo, "tag", "-a", "annotated", "-m", "x")
    commit(repo, {"a.txt": "second"})
    (repo / "untracked.txt").write_text("x", encoding="utf-8")
    found = open_repository(form.format(repo=repo, ref=ref), cache=cache)
    assert (found.commit, found.ref, found.name) == (first, ref, "repo")
    assert (found.root / "a.txt").read_text(encoding="utf-8") == "first"
    assert not (found.root / "untracked.txt").exists()
    assert found.commit_time == 1700000000
    assert sorted(path.name for path in (cache / "repositories").iterdir()) in (
        [first],
        [first, "refs"],
    )


def test_a_bare_repository_is_checked_out(tmp_path: Path, cache: Path) -> None:
    first = make_repository(tmp_path / "repo", {"a.txt": "first"})
    git(tmp_path, "clone", "-q", "--bare", "repo", "mirror.git")
    found = open_repository(str(tmp_path / "mirror.git"), cache=cache)
    assert (found.commit, found.name) == (first, "mirror")
    assert (found.root / "a.txt").is_file()


def test_addresses_as_ssh_writes_them(cache: Path) -> None:
    for source, shown in (
        ("git@localhost:group/x.git@v1", "git@localhost:group/x.git"),
        ("ssh://git@localhost:9/x.git", "ssh://git@localhost:9/x.git"),
    ):
        with pytest.raises(RepositoryError) as caught:
            open_repository(source, cache=cache)
        assert caught.value.message.startswith(f"the repository {shown} cannot be read: ")


def test_a_commit_that_no_branch_leads_to(tmp_path: Path, cache: Path) -> None:
    repo = tmp_path / "repo"
    make_repository(repo, {"a.txt": "first"})
    lost = commit(repo, {"a.txt": "second"})
    git(repo, "reset", "-q", "--hard", "HEAD^")
    assert open_repository(str(repo), ref=lost, cache=cache).commit == lost


def test_an_abbreviated_commit_is_recorded_in_full(tmp_path: Path, cache: Path) -> None:
    first = make_repository(tmp_path / "repo", {"a.txt": "first"})
    commit(tmp_path / "repo", {"a.txt": "second"})
    found = open_repository(f"file://{tmp_path}/repo@{first[:9]}", cache=cache)
    assert found.commit == first
    assert found.root.name == first


def test_describe_works_in_a_checkout(tmp_path: Path, cache: Path) -> None:
    make_repository(tmp_path / "repo", {"a.txt": "first"})
    git(tmp_path / "repo", "tag", "-a", "v1.2", "-m", "x")
    commit(tmp_path / "repo", {"a.txt": "second"})
    found = open_repository(f"file://{tmp_path}/repo", cache=cache)
    assert git(found.root, "describe").startswith("v1.2-1-")


def test_submodules_come_along(tmp_path: Path, cache: Path) -> None:
    make_repository(tmp_path / "lib", {"lib.txt": "lib"})
    make_repository(tmp_path / "repo", {"a.txt": "a"})
    git(tmp_path / "repo", "submodule", "add", "-q", "../lib", "lib")
    commit(tmp_path / "repo", {})
    found = open_repository(f"{tmp_path}/repo@main", cache=cache)
    assert (found.root / "lib" / "lib.txt").read_text(encoding="utf-8") == "lib"


def test_offline_a_ref_is_what_it_was(tmp_path: Path, cache: Path) -> None:
    repo = tmp_path / "repo"
    first = make_repository(repo, {"a.txt": "first"})
    url = f"file://{repo}"
    with pytest.raises(RepositoryError, match="never fetched"):
        open_repository(url, cache=cache, offline=True)
    open_repository(url, cache=cache)
    second = commit(repo, {"a.txt": "second"})
    assert open_repository(url, cache=cache, offline=True).commit == first
    assert open_repository(url, cache=cache).commit == second


@pytest.mark.parametrize("form", ["{repo}", "file://{repo}"])
def test_a_misspelt_ref_has_near_misses(tmp_path: Path, cache: Path, form: str) -> None:
    make_repository(tmp_path / "repo", {"a.txt": "first"})
    git(tmp_path / "repo", "branch", "develop")
    with pytest.raises(RepositoryError, match="'devlop'") as caught:
        open_repository(form.format(repo=tmp_path / "repo"), ref="devlop", cache=cache)
    assert caught.value.hint == "did you mean develop?"
    assert caught.value.exit_code == 10
    assert not list((cache / "repositories").glob("*"))


@pytest.mark.parametrize("ref", ["-x", "--upload-pack=touch x", "a..b", "a b", "x^{tree}"])
def test_a_ref_that_is_none_never_reaches_git(repo: Path, cache: Path, ref: str) -> None:
    with pytest.raises(RepositoryError, match="cannot be the name"):
        open_repository(str(repo), ref=ref, cache=cache)


def test_two_refs_are_a_usage_error(repo: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match="names one ref"):
        open_repository(f"{repo}@main", ref="v1", cache=cache)


def test_at_signs_in_paths_are_paths(tmp_path: Path, cache: Path) -> None:
    make_repository(tmp_path / "a@b", {"x": "x"})
    assert open_repository(f"{tmp_path}/a@b", cache=cache).name == "a-b"
    found = open_repository(f"{tmp_path}/a@b@main", cache=cache)
    assert (found.ref, (found.root / "x").is_file()) == ("main", True)


def test_what_is_not_there(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "file.txt").touch()
    with pytest.raises(RepositoryError, match="there is no folder") as caught:
        open_repository(str(tmp_path / "tesis"), cache=cache)
    assert caught.value.hint == f"did you mean {tmp_path / 'thesis'}?"
    with pytest.raises(RepositoryError, match="is a file, not a folder"):
        open_repository(str(tmp_path / "file.txt"), cache=cache)
    with pytest.raises(RepositoryError) as caught:
        open_repository("someone/something", cache=cache)
    assert "https://github.com/someone/something" in (caught.value.hint or "")
    with pytest.raises(RepositoryError, match="is not a git repository"):
        open_repository(str(tmp_path / "thesis"), ref="main", cache=cache)


def test_an_unreachable_url_hides_its_password(cache: Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        open_repository("https://me:hunter2@localhost:9/x.git", cache=cache)
    error = caught.value
    assert "https://localhost:9/x.git cannot be read" in error.message
    assert "hunter2" not in f"{error.message}{error.hint}{error.detail}"


def test_a_repository_without_a_commit(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    listener = Listener()
    assert open_repository(str(tmp_path / "empty"), cache=cache, progress=listener).commit is None
    assert listener.warnings
    with pytest.raises(RepositoryError, match="has no commit yet"):
        open_repository(f"file://{tmp_path}/empty", cache=cache)


def test_subdir(repo: Path, cache: Path, tmp_path: Path) -> None:
    found = open_repository(str(repo), subdir="sub/", cache=cache)
    assert (found.root, found.top, found.subdir, found.name) == (
        repo / "sub",
        repo,
        "sub",
        "My-Repo-sub",
    )
    (tmp_path / "outside").mkdir()
    (repo / "link").symlink_to(tmp_path / "outside")
    for bad in ("..", "sub/../..", str(tmp_path), "link"):
        with pytest.raises(RepositoryError, match="leads out of the repository"):
            open_repository(str(repo), subdir=bad, cache=cache)
    with pytest.raises(RepositoryError, match="is not in the repository") as caught:
        open_repository(str(repo), subdir="subb", cache=cache)
    assert caught.value.hint == "did you mean sub?"
    with pytest.raises(RepositoryError, match="is a file"):
        open_repository(str(repo), subdir="environment.yml", cache=cache)


def test_the_digest_sees_paths_bits_links_and_content(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    (root / "a").write_text("one", encoding="utf-8")

    def digest() -> str:
        return content_digest(open_repository(str(root), cache=cache))

    seen = [digest()]
    (root / "a").chmod(0o755)
    seen.append(digest())
    (root / "a").write_text("two", encoding="utf-8")
    seen.append(digest())
    (root / "a").rename(root / "b")
    seen.append(digest())
    (root / "l").symlink_to("b")
    seen.append(digest())
    assert len(set(seen)) == len(seen)
    (root / ".git").mkdir()
    (root / ".git" / "x").touch()
    (root / "dist").mkdir()
    (root / "dist" / "SHA256SUMS").touch()
    (root / "dist" / "x.manifest.json").touch()
    os.utime(root / "b", (1, 1))
    assert digest() == seen[-1]


def test_secrets_leave_urls_and_ssh_users_stay() -> None:
    assert without_secrets("x https://a:b@h/p y") == "x https://h/p y"
    assert without_secrets("ssh://git@h/p") == "ssh://git@h/p"
    assert without_secrets("git@h:p") == "git@h:p"
