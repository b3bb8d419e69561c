from __future__ import annotations

import hashlib
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from reespack.errors import HashMismatchError, InstallError
from reespack.model import Repository
from reespack.package_index import PackageIndex
from reespack.prefix.sources import GitSource, clone, download, inside, local_path
from reespack.products import LockedPip
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"an sdist"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    logins: tuple[str | None, ...] = ()

    def do_GET(self) -> None:
        type(self).logins += (self.headers.get("Authorization"),)
        self.send_response(200 if self.path.endswith(".tar.gz") else 404)
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.logins = ()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{listener.server_port}"
        listener.shutdown()
        thread.join()


def sdist(url: str, sha256: str | None = SHA256) -> LockedPip:
    return LockedPip(name="thing", version="1.0", url=url, kind="sdist", sha256=sha256)


def test_a_download_is_checked_and_kept(tmp_path: Path, server: str) -> None:
    package = sdist(f"http://{server}/thing-1.0.tar.gz")
    index = PackageIndex()
    first = download(package, tmp_path, index=index, progress=QUIET)
    assert first.name == "thing-1.0.tar.gz"
    assert first.read_bytes() == CONTENT
    assert download(package, tmp_path, index=PackageIndex(offline=True), progress=QUIET) == first
    assert len(Handler.logins) == 1
    first.write_bytes(b"spoilt")
    download(package, tmp_path, index=index, progress=QUIET)
    assert first.read_bytes() == CONTENT


def test_another_file_is_refused_and_not_kept(tmp_path: Path, server: str) -> None:
    package = sdist(f"http://{server}/thing-1.0.tar.gz", "0" * 64)
    expected = f"thing 1.0 .*expected sha256 0{{64}}, got {SHA256}"
    with pytest.raises(HashMismatchError, match=expected):
        download(package, tmp_path, index=PackageIndex(), progress=QUIET)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_cannot_be_had_is_one_error(tmp_path: Path, server: str) -> None:
    with pytest.raises(InstallError, match=r"thing 1\.0 cannot be downloaded: Not Found"):
        download(sdist(f"http://{server}/none"), tmp_path, index=PackageIndex(), progress=QUIET)
    with pytest.raises(InstallError, match=r"offline.*thing-2\.tar\.gz"):
        download(
            sdist(f"http://{server}/thing-2.tar.gz"),
            tmp_path,
            index=PackageIndex(offline=True),
            progress=QUIET,
        )


def test_the_login_is_that_of_the_url_or_of_its_index(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    index = PackageIndex(index_url=f"http://me:p%40ss@{server}/simple")
    download(sdist(f"http://{server}/a.tar.gz", None), tmp_path, index=index, progress=QUIET)
    download(
        sdist(f"http://you:x@{server}/b.tar.gz", None),
        tmp_path,
        index=PackageIndex(),
        progress=QUIET,
    )
    assert Handler.logins == ("Basic bWU6cEBzcw==", "Basic eW91Ong=")


def test_a_git_source_is_taken_apart() -> None:
    source = GitSource(f"git+ssh://git@host/a/b.git@{COMMIT}#egg=b&subdirectory=x/y")
    assert (source.url, source.commit) == ("ssh://git@host/a/b.git", COMMIT)
    assert source.subdirectory == "x/y"
    with pytest.raises(InstallError, match="does not name a commit"):
        GitSource("git+https://host/a/b.git@main")


def test_any_commit_of_a_repository_is_checked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tmp_path / "origin"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def git(*args: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", str(origin), *identity, *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (origin / "sub").mkdir(parents=True)
    git("init", "--quiet")
    (origin / "sub/file").write_text("first")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    first = git("rev-parse", "HEAD")
    (origin / "sub/file").write_text("second")
    git("commit", "--quiet", "-am", "second")

    def package(commit: str) -> LockedPip:
        url = f"git+{origin.as_uri()}@{commit}#subdirectory=sub"
        return LockedPip(name="thing", version="1", url=url, kind="git")

    folder = clone(package(first), tmp_path / "one", progress=QUIET, timeout=60)
    assert (folder / "file").read_text() == "first"
    with pytest.raises(InstallError, match=f"thing: commit {COMMIT} .* cannot be had") as caught:
        clone(package(COMMIT), tmp_path / "two", progress=QUIET, timeout=60)
    assert caught.value.detail


def test_paths_are_those_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "top/pkg").mkdir(parents=True)
    (tmp_path / "top/out").symlink_to(tmp_path)
    top = tmp_path / "top"
    repository = Repository(root=top, top=top, name="r", source="r")
    assert local_path("https://host/x.whl", top) is None
    assert local_path("wheels/a%20b.whl", top) == top / "wheels/a b.whl"
    assert local_path((tmp_path / "x.whl").as_uri(), top) == tmp_path / "x.whl"
    assert inside(repository, "pkg") == top / "pkg"
    assert inside(repository, ".") == top
    for url in ("../elsewhere", "out", "https://host/x"):
        with pytest.raises(InstallError):
            inside(repository, url)
