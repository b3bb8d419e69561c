"""Where the source of a distribution comes from: an sdist, a git repository, a project here."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reespack.errors import HashMismatchError, InstallError, RepositoryError
from reespack.files import sha256_file, temporary_beside
from reespack.index_files import IndexFiles
from reespack.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import Repository
    from reespack.package_index import PackageIndex
    from reespack.products import LockedPip
    from reespack.progress import Progress

__all__ = ["GitSource", "check_sha256", "clone", "download", "inside", "local_path"]


def local_path(url: str, root: Path) -> Path | None:
    """Return the file or folder that a lock's `url` means on this machine; None for a remote.

    `root` is what relative paths start from.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        path = unquote(parts.path)
        return root / path
    return root / unquote(parts.path) if not parts.scheme else None


def check_sha256(file: Path, package: LockedPip) -> None:
    """Raise HashMismatchError when a file is not the one that was locked."""
    if package.sha256 is None:
        return
    got = sha256_file(file)
    if got != package.sha256:
        raise HashMismatchError(
            f"{package.name} {package.version} is not the one that was locked: "
            f"expected sha256 {package.sha256}, got {got}",
            hint="lock again if you trust the new file",
            detail=package.url,
        )


def download(package: LockedPip, folder: Path, *, index: PackageIndex, progress: Progress) -> Path:
    """Return the checked file at the package's URL, kept in `folder` under its digest.

    uv has no command that only downloads. The proxy, certificates and .netrc count as for pip.
    Raises InstallError and HashMismatchError.
    """
    address = urlsplit(package.url)
    target = folder / (package.sha256 or "unchecked") / unquote(address.path).rsplit("/", 1)[-1]
    if package.sha256 and target.is_file() and sha256_file(target) == package.sha256:
        return target
    if index.offline:
        raise InstallError(
            f"offline, and not in the cache: {target.name}",
            hint="build once with the network",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary_beside(target) as part:
            with (
                IndexFiles(index).open(package.url) as answer,
                part.open("wb") as file,
                progress.task(f"downloading {target.name}", unit="bytes") as advance,
            ):
                length = answer.headers.get("Content-Length")
                total = int(length) if length else None
                while chunk := answer.read(1 << 20):
                    file.write(chunk)
                    advance(len(chunk), total=total)
            check_sha256(part, package)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise InstallError(
            f"{package.name} {package.version} cannot be downloaded: {reason}",
            hint="check the network and the index settings",
            detail=package.url,
        ) from error
    return target


# --- git ---------------------------------------------------------------------------------------


class GitSource:
    """What a `git+URL@commit#subdirectory=...` says."""

    def __init__(self, text: str) -> None:
        """Take the text apart; raise InstallError when no commit is named."""
        plain, _, fragment = text.removeprefix("git+").partition("#")
        url, _, commit = plain.rpartition("@")
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
            raise InstallError(f"{text} does not name a commit", hint="lock again")
        found = re.search(r"(?:^|&)subdirectory=([^&]*)", fragment)
        self.url = url
        self.commit = commit
        self.subdirectory = unquote(found[1]) if found else ""


def clone(
    package: LockedPip, destination: Path, *, progress: Progress, timeout: float | None
) -> Path:
    """Check a git source out; return the folder of the project in it."""
    source = GitSource(package.url)
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}

    def git(*args: str) -> bool:
        command = ["git", "-C", str(destination), *args]
        done = run(command, env=environ, timeout=timeout, on_output=progress.detail)
        tails.extend(done.tail)
        return done.ok

    tails: list[str] = []
    destination.mkdir(parents=True)
    try:
        fetched = git("init", "--quiet") and (
            # Not every server gives out a commit by its id; all give their branches and tags.
            git("fetch", "--quiet", "--depth=1", source.url, source.commit)
            or git("fetch", "--quiet", "--tags", source.url, "+refs/heads/*:refs/remotes/origin/*")
        )
    except FileNotFoundError as error:
        raise InstallError(
            f"{package.name} comes from git, and there is no git here", hint="install git"
        ) from error
    done = (
        fetched
        and git("-c", "advice.detachedHead=false", "checkout", "--quiet", source.commit)
        and git("submodule", "--quiet", "update", "--init", "--recursive")
    )
    if not done:
        raise InstallError(
            f"{package.name}: commit {source.commit} of {source.url} cannot be had",
            hint="check the network, and that the commit still exists",
            detail="\n".join(tails[-20:]),
        )
    return destination / source.subdirectory


def inside(repository: Repository, url: str) -> Path:
    """Return a path of the repository that a lock names; raise when it leads out of it."""
    path = local_path(url, repository.root)
    if path is None:
        raise InstallError(f"{url} is not a path in the repository", hint="lock again")
    try:
        return repository.resolve(os.path.relpath(path, repository.root))
    except RepositoryError as error:
        raise InstallError(error.message, hint=error.hint) from error
