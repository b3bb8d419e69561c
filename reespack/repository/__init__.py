"""The first phase: from what the user names to a tree of files on this machine."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from reespack.archive.names import MANIFEST_BESIDE
from reespack.errors import RepositoryError, UsageError
from reespack.model import Repository
from reespack.progress import QUIET
from reespack.repository.address import public_address
from reespack.repository.foreign import reading
from reespack.repository.git import git, git_failure, has_git, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reespack.progress import Progress

__all__ = ["content_digest", "open_repository"]

_URL = re.compile(r"^(git\+)?(https?|ssh|git|file)://", re.IGNORECASE)
_SCP = re.compile(r"^[\w.-]+@[\w.-]+:(?!/{2})")

# Untracked, these decide what is built as much as a tracked file that differs.
_DECIDING = frozenset(
    {
        *("environment.yml", "environment.yaml", "requirements.txt", "Pipfile", "Pipfile.lock"),
        *("conda-lock.yml", "conda-linux-64.lock", "setup.py", "pyproject.toml", "runtime.txt"),
        *("apt.txt", "postBuild", "start", "install.R", "DESCRIPTION", "Project.toml"),
        *("JuliaProject.toml", "Dockerfile", "default.nix"),
    }
)


class _Source(NamedTuple):
    """What the user's word for a repository means: exactly one of `url` and `folder` is set."""

    url: str | None = None
    folder: Path | None = None
    ref: str | None = None


def open_repository(  # noqa: PLR0913 - each is a word of the command line, or a collaborator
    source: str,
    *,
    ref: str | None = None,
    subdir: str | None = None,
    cache: Path,
    offline: bool = False,
    progress: Progress = QUIET,
) -> Repository:
    """Return the repository that `source` names: a folder, a git URL, or either with `@ref`.

    A folder without a ref is taken as it is, and nothing is written anywhere; all else becomes a
    clean checkout of one commit below the cache. Raises RepositoryError for what cannot be had,
    UsageError when two refs are given.
    """
    meant = _parse(source)
    if meant.ref is not None and ref not in {None, meant.ref}:
        raise UsageError(
            f"{source!r} names one ref and --ref another ({ref})", hint="leave one of them out"
        )
    ref = ref or meant.ref
    if meant.folder is not None and ref is None and not _is_bare(meant.folder):
        return _from_folder(meant.folder, source, subdir=subdir, progress=progress)
    return _from_git(
        meant, source, ref=ref, subdir=subdir, cache=cache, offline=offline, progress=progress
    )


def content_digest(repository: Repository) -> str:
    """Return the digest of a repository's tree: every path, its executable bit and its content.

    Links count by where they point. `.git` and the output of earlier builds do not count. The
    digest has 64 hexadecimal digits.
    """
    whole = hashlib.sha256()
    for path, entry in _tree(repository.root):
        try:
            kind, content = _content(entry)
        except OSError as error:
            raise RepositoryError(f"{path}: cannot be read: {error.strerror}") from error
        if kind:
            whole.update(f"{kind} {content} {path}\0".encode(errors="surrogateescape"))
    return whole.hexdigest()


# --- what is meant -----------------------------------------------------------------------------


def _parse(source: str) -> _Source:
    if not source:
        raise RepositoryError("the repository's name is empty", hint="give a folder or a git URL")
    folder = Path(source).expanduser()
    if _URL.match(source):
        url, ref = _split_ref(source, start=source.index("://") + 3, after="/")
        return _Source(url=re.sub(r"^git\+", "", url), ref=ref)
    if _SCP.match(source) and not folder.exists():
        url, ref = _split_ref(source, start=source.index("@") + 1, after=":")
        return _Source(url=url, ref=ref)
    before, at, ref = source.rpartition("@")
    if at and not folder.exists() and before and Path(before).expanduser().is_dir():
        if not ref:
            raise RepositoryError(f"{source!r} ends with @ and no ref", hint="give it as @ref")
        return _Source(folder=Path(before).expanduser(), ref=ref)
    return _Source(folder=folder)


def _split_ref(source: str, *, start: int, after: str) -> tuple[str, str | None]:
    """Split a URL's `@ref` off; an @ before the path belongs to the host."""
    path = source.find(after, start)
    at = source.rfind("@")
    return (source[:at], source[at + 1 :] or None) if path != -1 and at > path else (source, None)


def _existing(folder: Path, source: str) -> Path:
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise RepositoryError(
            f"{source} is a file, not a folder", hint="give the folder that it lies in"
        )
    hint = None
    if folder.parent.is_dir():
        siblings = [entry.name for entry in folder.parent.iterdir() if entry.is_dir()]
        near = difflib.get_close_matches(folder.name, siblings, n=1)
        hint = f"did you mean {folder.parent / near[0]}?" if near else None
    if hint is None and re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        hint = f"for a repository on GitHub, say https://github.com/{source}"
    raise RepositoryError(f"there is no folder {source}", hint=hint)


def _is_bare(folder: Path) -> bool:
    """Say whether a folder is a git repository without a tree of files."""
    return (folder / "HEAD").is_file() and all((folder / x).is_dir() for x in ("objects", "refs"))


def _below(top: Path, subdir: str | None) -> tuple[Path, str]:
    """Return the folder that `--subdir` means, and its path below `top` in POSIX form."""
    if not subdir or subdir in {".", "./"}:
        return top, ""
    root = (top / subdir).resolve()
    if Path(subdir).is_absolute() or ".." in Path(subdir).parts or not root.is_relative_to(top):
        raise RepositoryError(
            f"--subdir {subdir} leads out of the repository",
            hint="give a folder inside of it, relative to its top",
        )
    if not root.is_dir():
        folders = [path.relative_to(top).as_posix() for path in _folders(top)]
        near = difflib.get_close_matches(subdir.strip("/"), folders, n=1)
        what = "is a file, not a folder" if root.exists() else "is not in the repository"
        raise RepositoryError(
            f"--subdir {subdir} {what}", hint=f"did you mean {near[0]}?" if near else None
        )
    return root, root.relative_to(top).as_posix()


def _folders(top: Path) -> list[Path]:
    """Return the folders of the two uppermost levels."""
    first = [path for path in top.iterdir() if path.is_dir() and path.name != ".git"]
    return first + [path for folder in first for path in folder.iterdir() if path.is_dir()]


def _slug(name: str, subdir: str) -> str:
    words = f"{name}-{subdir.rpartition('/')[2]}" if subdir else name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-._") or "environment"


# --- folders -----------------------------------------------------------------------------------


def _from_folder(
    folder: Path, source: str, *, subdir: str | None, progress: Progress
) -> Repository:
    top = _existing(folder, source)
    root, below = _below(top, subdir)
    commit, commit_time, dirty, url = _git_state(root, progress)
    return Repository(
        root=root,
        top=top,
        name=_slug(top.name, below),
        source=source,
        url=url,
        commit=commit,
        commit_time=commit_time,
        dirty=dirty,
        subdir=below,
    )


def _git_state(root: Path, progress: Progress) -> tuple[str | None, int | None, bool, str | None]:
    """Return commit, its time, whether the tree differs from it, and the origin's URL."""
    nothing = (None, None, False, None)
    checkout = next(
        (folder for folder in (root, *root.parents) if (folder / ".git").exists()), None
    )
    if checkout is None:
        return nothing
    if not has_git():
        progress.warn("the commit is not recorded: there is no git on this machine")
        return nothing
    trust = reading(checkout)
    head = git([*trust, "log", "-1", "--format=%H %ct"], cwd=root)
    if not head.ok:
        error = git_failure(f"the commit of {root} is not recorded", head)
        progress.warn(error.message, hint=error.hint)
        return nothing
    known = git([*trust, "rev-parse", "--verify", "-q", "HEAD:./"], cwd=root)
    if checkout != root and not known.ok:
        return nothing  # a folder that the checkout around it knows nothing of
    commit, time = head.stdout.split()
    # What git would run in a submodule, its own configuration says.
    submodules = "--ignore-submodules=dirty" if trust else "--ignore-submodules=none"
    wanted = ("--no-renames", "--untracked-files=normal", submodules)
    status = git([*trust, "status", "--porcelain=v1", "-z", *wanted, "--", "."], cwd=root)
    prefix = "" if checkout == root else f"{root.relative_to(checkout).as_posix()}/"
    return commit, int(time), _is_dirty(status.stdout, prefix), _origin(root, trust)


def _is_dirty(status: str, prefix: str) -> bool:
    """Say whether tracked files differ, or a file that decides the environment is not tracked."""
    for entry in filter(None, status.split("\0")):
        state, path = entry[:2], entry[3:].removeprefix(prefix)
        folder, _, name = path.rpartition("/")
        if state != "??" or path.startswith(("binder/", ".binder/")):
            return True
        if not folder and name in _DECIDING:
            return True
    return False


def _origin(folder: Path, trust: Sequence[str] = ()) -> str | None:
    """Return the URL a checkout was cloned from, sans secrets; a path on this machine is none."""
    url = git([*trust, "config", "--get", "remote.origin.url"], cwd=folder).stdout.strip()
    return public_address(url)


# --- git ---------------------------------------------------------------------------------------


def _from_git(  # noqa: PLR0913 - see open_repository
    meant: _Source,
    source: str,
    *,
    ref: str | None,
    subdir: str | None,
    cache: Path,
    offline: bool,
    progress: Progress,
) -> Repository:
    from reespack.repository.checkout import Remote, check_out, resolve_ref
    from reespack.store import Cache

    if meant.url is not None:
        shown = without_secrets(meant.url)
        remote = Remote(address=meant.url, shown=shown)
        name = _name_of(meant.url)
        url = public_address(meant.url)
    else:
        folder = _existing(meant.folder or Path(), source)
        origin = _origin(folder) if has_git() else None
        remote = Remote(address=str(folder), shown=str(folder), local=True, origin=origin)
        name, url = folder.name.removesuffix(".git"), origin
    store = Cache(cache)
    wanted = resolve_ref(remote, ref, cache=store, offline=offline)
    top, commit = check_out(remote, wanted, cache=store, offline=offline, progress=progress)
    # In a cache that a group shares, the checkout may be somebody else's.
    trust = ["-c", f"safe.directory={top}"]
    time = git([*trust, "log", "-1", "--format=%ct", commit], cwd=top)
    if not time.ok:
        raise git_failure(f"the checkout {top} cannot be read", time)
    root, below = _below(top.resolve(), subdir)
    return Repository(
        root=root,
        top=top.resolve(),
        name=_slug(name, below),
        source=without_secrets(source),
        url=url,
        ref=ref,
        commit=commit,
        commit_time=int(time.stdout.strip()),
        subdir=below,
    )


def _name_of(url: str) -> str:
    path = urlsplit(url).path if "://" in url else url.partition(":")[2]
    name = path.rstrip("/").rpartition("/")[2]
    return name.removesuffix(".git") or "repository"


# --- digest ------------------------------------------------------------------------------------


def _tree(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield (path below `root`, entry) for all that counts, in an order of its own."""
    pending = [("", str(root))]
    while pending:
        below, folder = pending.pop()
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        names = {entry.name for entry in entries}
        if below and _is_output(names):
            continue
        for entry in entries:
            if entry.name == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append((f"{below}{entry.name}/", entry.path))
            yield f"{below}{entry.name}", entry


def _is_output(names: set[str]) -> bool:
    """Say whether a folder with these entries is where a build put its files.

    Otherwise a build into the repository itself would never find its archive in the cache.
    """
    return "SHA256SUMS" in names and any(name.endswith(MANIFEST_BESIDE) for name in names)


def _content(entry: os.DirEntry[str]) -> tuple[str, str]:
    """Return the kind of an entry and the digest of its content; no kind for what does not count.

    Folders do not: git does not know empty ones either.
    """
    if entry.is_symlink():
        return "link", str(Path(entry.path).readlink())
    if not entry.is_file(follow_symlinks=False):
        return "", ""
    from reespack.files import sha256_file

    executable = entry.stat(follow_symlinks=False).st_mode & 0o111
    return "program" if executable else "file", sha256_file(Path(entry.path))
