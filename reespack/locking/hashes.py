"""pip's `--hash`: which of an index's files a requirement allows, and what has to have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from reespack.errors import LockError
from reespack.locking.pip_half import name_of
from reespack.model import ADDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.locking.pip_half import PipRequest
    from reespack.model import PipRequirement
    from reespack.products import LockedPip

__all__ = ["File", "allowed", "file_name", "require_hashes", "sha256_of"]

File = dict[str, Any]
"""A wheel or an sdist in pylock.toml: `url` or `path`, `hashes`."""


def allowed(files: list[File], package: File, request: PipRequest) -> list[File]:
    """Return the files of a package that the requirements' hashes allow, all when there are none.

    Raises LockError, naming file and line, when that leaves nothing.
    """
    name = canonicalize_name(package["name"])
    for requirement in request.requirements:
        if not requirement.hashes or name_of(requirement) != name:
            continue
        wanted = {tuple(value.split(":", 1)) for value in requirement.hashes}
        kept = [file for file in files if wanted & set(file.get("hashes", {}).items())]
        if files and not kept:
            raise LockError(
                f"{requirement.origin}: no file of {name} {package.get('version', '')} has the "
                f"hash that is asked for",
                hint="the index serves other files than those the hashes were made from; check "
                "where they come from before you change them",
                detail="\n".join(f"{file_name(file)} sha256:{sha256_of(file)}" for file in files),
            )
        files = kept
    return files


def require_hashes(locked: Sequence[LockedPip], request: PipRequest) -> None:
    """Raise LockError when some of the requirements have hashes and others that need one do not.

    As with pip, one hash (or `--require-hashes`) asks for them all, dependencies included; what
    reespack adds, and only that needs, goes without.
    """
    hashed = {name_of(r) for r in request.requirements if r.hashes}
    if not hashed and not request.options.require_hashes:
        return
    by_name = {one.name: one for one in locked}
    roots = {name_of(r): r for r in request.requirements if r.origin != ADDED}
    wanting = [
        (by_name[name], root)
        for name, root in sorted(_reachable(roots, by_name).items())
        if name not in hashed and by_name[name].kind in {"wheel", "sdist"}
    ]
    if wanting:
        one, root = wanting[0]
        raise LockError(
            f"{root.origin}: {one.name}=={one.version} has no --hash, while the requirements "
            "file asks for hashes",
            hint="as with pip, give every requirement a hash, dependencies too "
            "(`uv pip compile --generate-hashes`), or none",
            detail="without a hash:\n"
            + "\n".join(
                f"  {one.name}=={one.version} --hash=sha256:{one.sha256}" for one, _ in wanting
            ),
        )


def _reachable(
    roots: dict[str | None, PipRequirement], by_name: dict[str, LockedPip]
) -> dict[str, PipRequirement]:
    """Return what the roots lead to, each with the requirement that leads there."""
    found: dict[str, PipRequirement] = {}
    pending = [(name, root) for name, root in roots.items() if name in by_name]
    while pending:
        name, root = pending.pop()
        if name is None or name in found or name not in by_name:
            continue
        found[name] = root
        pending += [(need, root) for need, _ in by_name[name].depends]
    return found


def file_name(file: File) -> str:
    """Return the name of a wheel or sdist."""
    where = str(file.get("name") or urlsplit(str(file.get("url", ""))).path or file["path"])
    return unquote(where.rpartition("/")[2])


def sha256_of(file: File) -> str | None:
    """Return the sha256 that the index says a file has."""
    value = file.get("hashes", {}).get("sha256")
    return None if value is None else str(value)
