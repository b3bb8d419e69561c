"""A clean checkout of one commit, with submodules, kept in the cache by commit."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import RepositoryError
from reespack.files import current_umask, temporary_folder, write_atomic
from reespack.repository.git import git, git_failure, remote_refs
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.progress import Progress
    from reespack.store import Cache

__all__ = ["Remote", "check_out", "resolve_ref"]

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_ABBREVIATED = re.compile(r"[0-9a-f]{4,64}")


class Remote(Value):
    """Where commits come from: a URL, or a folder with a git repository.

    `shown` is the address without secrets. `origin` is the URL that a folder was cloned from
    itself, which its submodules' relative URLs go by.
    """

    address: str
    shown: str
    local: bool = False
    origin: str | None = None


def resolve_ref(remote: Remote, ref: str | None, *, cache: Cache, offline: bool) -> str:
    """Return the commit that `ref` (HEAD by default) stands for, or an abbreviated one as it is.

    Offline, a remote's ref stands for what it stood for when it was last asked. Raises
    RepositoryError, with near misses, when there is no such ref.
    """
    if ref is not None and (ref.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.", ref)):
        raise RepositoryError(
            f"{ref!r} cannot be the name of a branch, tag or commit",
            hint="`git ls-remote` lists the names that a repository has",
        )
    if ref is not None and _COMMIT.fullmatch(ref):
        return ref
    if remote.local:
        return _resolve_locally(remote, ref)
    digest = hashlib.sha256(f"{remote.shown}\n{ref or ''}".encode()).hexdigest()[:32]
    remembered = cache.repositories / "refs" / digest
    if offline:
        if remembered.is_file():
            return remembered.read_text(encoding="utf-8").strip()
        what = ref or "its default branch"
        raise RepositoryError(
            f"{remote.shown} at {what} was never fetched, and this is offline",
            hint="fetch it once without --offline, or give a folder",
        )
    refs = remote_refs(remote.address, shown=remote.shown)
    commit = _pick(refs, ref)
    if commit is None and ref is not None and _ABBREVIATED.fullmatch(ref):
        return ref
    if commit is None:
        raise _no_such_ref(remote, ref, refs)
    remembered.parent.mkdir(exist_ok=True)
    write_atomic(remembered, f"{commit}\n")
    return commit


def check_out(
    remote: Remote, commit: str, *, cache: Cache, offline: bool, progress: Progress
) -> tuple[Path, str]:
    """Return a folder with `commit` checked out, and the commit in full; from the cache if there.

    The folder belongs to all builds: nobody writes to it. Raises RepositoryError when the commit
    or a submodule cannot be had.
    """
    target = cache.repositories / commit
    if target.is_dir():
        cache.use("repositories", commit)
    if target.is_dir():
        return target, commit
    if offline and not remote.local:
        raise RepositoryError(
            f"{remote.shown} at {commit[:12]} was never fetched, and this is offline",
            hint="fetch it once without --offline, or give a folder",
        )
    with cache.lock(f"checkout-{commit}", progress=progress):
        if target.is_dir():
            return target, commit
        progress.step(f"Fetching {remote.shown} at {commit[:12]}")
        with temporary_folder(cache.repositories, prefix=".checkout-") as temporary:
            folder = temporary / "tree"
            full = _clone(remote, commit, folder, progress=progress)
            folder.chmod(0o777 & ~current_umask())
            target = cache.repositories / full
            if not target.is_dir():
                try:
                    folder.rename(target)
                except OSError:
                    if not target.is_dir():  # else another process was faster
                        raise
    return target, full


# --- refs --------------------------------------------------------------------------------------


def _resolve_locally(remote: Remote, ref: str | None) -> str:
    folder = Path(remote.address)
    for name in (ref or "HEAD", f"refs/remotes/origin/{ref}"):
        found = git(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"],
            cwd=folder,
        )
        if found.ok:
            return found.stdout.strip()
    listed = git(["for-each-ref", "--format=%(refname)"], cwd=folder)
    if not listed.ok:
        raise git_failure(f"{remote.shown} is not a git repository that can be read", listed)
    raise _no_such_ref(remote, ref, listed.stdout.splitlines())


def _pick(refs: dict[str, str], ref: str | None) -> str | None:
    """Return the commit of a ref by git's own order of precedence (gitrevisions(7))."""
    if ref is None:
        return refs.get("HEAD")
    names = (ref, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}")
    return next((refs[name] for name in names if name in refs), None)


def _no_such_ref(remote: Remote, ref: str | None, refs: Iterable[str]) -> RepositoryError:
    if ref is None:
        return RepositoryError(
            f"the repository {remote.shown} has no commit yet", hint="commit to it first"
        )
    names = [re.sub(r"^refs/(heads|tags|remotes/origin)/", "", name) for name in refs]
    names = sorted({name for name in names if not name.startswith("refs/") and name != "HEAD"})
    near = difflib.get_close_matches(ref, names, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else None
    if not near and names:
        more = f", and {len(names) - 8} more" if len(names) > 8 else ""  # noqa: PLR2004 - a line
        hint = f"it has {', '.join(names[:8])}{more}"
    return RepositoryError(f"{remote.shown} has no branch, tag or commit {ref!r}", hint=hint)


# --- trees -------------------------------------------------------------------------------------


def _clone(remote: Remote, commit: str, folder: Path, *, progress: Progress) -> str:
    """Clone without history's files (commits are there, so that `git describe` works)."""
    cloned = git(
        ["clone", "--quiet", "--no-checkout", "--filter=blob:none", "--", remote.address, folder],
        on_output=progress.detail,
    )
    if not cloned.ok:
        raise git_failure(f"the repository {remote.shown} cannot be cloned", cloned)
    full = _verified(folder, commit)
    if full is None:
        # A commit that no branch leads to (a pull request's); servers may or may not give it.
        git(["fetch", "--quiet", "origin", commit], cwd=folder, on_output=progress.detail)
        full = _verified(folder, commit)
    if full is None:
        refs = git(["for-each-ref", "--format=%(refname)"], cwd=folder).stdout.splitlines()
        raise _no_such_ref(remote, commit, refs)
    checked_out = git(["checkout", "--quiet", "--detach", full], cwd=folder)
    if not checked_out.ok:
        raise git_failure(f"{remote.shown} at {full[:12]} cannot be checked out", checked_out)
    if remote.origin is not None:
        git(["remote", "set-url", "origin", remote.origin], cwd=folder)
    if (folder / ".gitmodules").is_file():
        _add_submodules(remote, folder, progress=progress)
    if not remote.local:
        # The address may hold a password; the copy in the cache has no use for it.
        git(["remote", "set-url", "origin", remote.shown], cwd=folder)
    return full


def _verified(folder: Path, commit: str) -> str | None:
    found = git(["rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"], cwd=folder)
    return found.stdout.strip() if found.ok else None


def _add_submodules(remote: Remote, folder: Path, *, progress: Progress) -> None:
    # git refuses submodules from folders, since a stranger's could point anywhere on this
    # machine; where the repository itself is on this machine, that says nothing new.
    here = remote.local or remote.address.startswith("file:")
    allow = ["-c", "protocol.file.allow=always"] if here else []
    progress.step("Fetching its submodules")
    updated = git(
        [*allow, "submodule", "--quiet", "update", "--init", "--recursive"],
        cwd=folder,
        on_output=progress.detail,
    )
    if not updated.ok:
        raise git_failure(f"the submodules of {remote.shown} cannot be fetched", updated)
