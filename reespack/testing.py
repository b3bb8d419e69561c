"""The contract that every buildpack keeps, for the tests of those who write one.

    def test_contract(tmp_path):
        (tmp_path / "pixi.toml").write_text(...)
        contribution = check_buildpack(PixiToml(), tmp_path)

A broken contract raises ContractError, which a test runner reports as a failed assertion.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.buildpack import API, Buildpack, Contribution, Evidence
from reespack.errors import ReespackError
from reespack.model import ADDED, Origin, Repository, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ContractError", "check_buildpack"]

Outcome = tuple[Evidence | None, Contribution | None]

_FORBIDDEN = (
    "ftplib.connect",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.mkdir",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.spawn",
    "os.system",
    "shutil.rmtree",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "tempfile.mkdtemp",
    "tempfile.mkstemp",
)
"""Audit events (PEP 578) that a pure function does not raise."""


class ContractError(AssertionError):
    """A buildpack does what no buildpack may do; the message says what."""


def check_buildpack(
    buildpack: Buildpack, root: Path, *, platform: str = "linux-64"
) -> Contribution | None:
    """Run a buildpack over the repository at `root` and return what it contributes.

    None means that it does not apply there. Checks that it is a buildpack; that it writes nothing,
    starts nothing and asks no network; that it gives the same answer twice and from any working
    folder; that the files it claims exist; and that every origin is a line of a file of the
    repository. A ReespackError that it raises about the repository's files (MalformedFileError) is
    raised again when it does so each time. Raises ContractError otherwise.
    """
    _check_members(buildpack)
    root = root.resolve()
    repository = Repository(root=root, top=root, name=root.name, source=str(root))
    target = Target(platform=platform)
    # the first run loads lazy imports, which may write bytecode and is no fault of the buildpack
    first = _outcome(buildpack, repository, target)
    before = _snapshot(root)
    with _elsewhere(), _pure():
        second = _outcome(buildpack, repository, target)
    if _snapshot(root) != before:
        raise ContractError(f"{buildpack.id} changed the repository")
    if isinstance(first, ReespackError) or isinstance(second, ReespackError):
        if str(first) != str(second):
            raise ContractError(f"{buildpack.id} says `{first}` once and `{second}` then")
        if isinstance(first, ReespackError):
            raise first
        raise ContractError(f"{buildpack.id} fails only the second time: {second}")
    if first != second:
        raise ContractError(f"{buildpack.id} gives two answers: {first} and {second}")
    evidence, contribution = first
    _check_evidence(buildpack, evidence, repository)
    _check_contribution(buildpack, contribution, repository)
    return contribution


def _outcome(
    buildpack: Buildpack, repository: Repository, target: Target
) -> Outcome | ReespackError:
    try:
        evidence = buildpack.detect(repository)
        if evidence is None:
            return None, None
        if not isinstance(evidence, Evidence):
            raise ContractError(f"{buildpack.id}.detect returns {type(evidence).__name__}")
        return evidence, buildpack.contribute(repository, evidence, target)
    except ReespackError as error:
        return error


def _check_members(buildpack: Buildpack) -> None:
    if not isinstance(buildpack, Buildpack):
        raise ContractError(f"{buildpack!r} lacks a member of reespack.buildpack.Buildpack")
    if buildpack.api != API:
        raise ContractError(f"{buildpack.id} has api {buildpack.api}, not {API}")
    if not buildpack.id or not isinstance(buildpack.id, str):
        raise ContractError("a buildpack's id is a word")
    if type(buildpack.files) is not tuple or not all(buildpack.files):
        raise ContractError(f"{buildpack.id}.files is not a tuple of names")


def _check_evidence(
    buildpack: Buildpack, evidence: Evidence | None, repository: Repository
) -> None:
    if evidence is None:
        return
    if not evidence.claims:
        raise ContractError(f"{buildpack.id} applies, and claims no file")
    for claim in evidence.claims:
        if not repository.is_file(claim.path):
            raise ContractError(f"{buildpack.id} claims {claim.path}, which is no file")
        if not claim.reason:
            raise ContractError(f"{buildpack.id} claims {claim.path} without a reason")


def _check_contribution(
    buildpack: Buildpack, contribution: Contribution | None, repository: Repository
) -> None:
    if contribution is None:
        return
    if not isinstance(contribution, Contribution):
        raise ContractError(
            f"{buildpack.id}.contribute returns {type(contribution).__name__}, not a Contribution"
        )
    for origin in _origins(contribution):
        if origin == ADDED:
            continue
        if not repository.is_file(origin.file):
            raise ContractError(f"{buildpack.id} names the origin {origin}, which is no file")
        # counted in bytes, since an encoding is the buildpack's business; one more for the last
        lines = repository.read_bytes(origin.file).count(b"\n") + 1
        if origin.line is not None and not 1 <= origin.line <= lines:
            raise ContractError(f"{buildpack.id} names {origin}, and the file has {lines} lines")
    for path in (contribution.post_build, contribution.start):
        if path is not None and not repository.is_file(path):
            raise ContractError(f"{buildpack.id} contributes the script {path}, which is no file")


def _origins(value: object) -> Iterator[Origin]:
    """Yield every origin in a value, however deep."""
    if isinstance(value, Origin):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _origins(item)
    elif is_dataclass(value):
        for one in fields(value):
            yield from _origins(getattr(value, one.name))


def _snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, time of change and digest of everything below `root`."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        plain = path.is_file() and not path.is_symlink()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, digest)
    return found


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Stand in an empty folder, in which no relative path means anything."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


_watching: list[bool] = []  # a hook cannot be taken off again, so it is told when to look


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _watching or not _watching[-1]:
        return
    if event in _FORBIDDEN:
        raise ContractError(f"a buildpack may not do this: {event} {arguments}")
    if event == "open" and isinstance(arguments[2], int):
        writing = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if writing:
            raise ContractError(f"a buildpack may not write: {arguments[0]!r}")


@contextmanager
def _pure() -> Iterator[None]:
    """Raise ContractError at whatever reaches beyond reading files."""
    if not _watching:
        _watching.append(False)
        sys.addaudithook(_hook)
    _watching[-1] = True
    try:
        yield
    finally:
        _watching[-1] = False
