from __future__ import annotations

import itertools
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reespack.buildpack import Claim, Contribution, Evidence
from reespack.errors import MalformedFileError
from reespack.model import Note, Origin, Repository, Target
from reespack.testing import ContractError, check_buildpack

if TYPE_CHECKING:
    from collections.abc import Callable


COUNTER = itertools.count(1)


class Toy:
    """Claims toy.txt, and does whatever a test wants while contributing."""

    id = "toy"
    api = 1
    files: tuple[str, ...] = ("toy.txt",)
    slot: str | None = None
    rank = 0

    def __init__(self, act: Callable[[Repository], Any], claim: str = "toy.txt") -> None:
        self.act = act
        self.claim = claim

    def detect(self, repository: Repository) -> Evidence | None:
        del repository
        return Evidence(claims=(Claim(path=self.claim, reason="a toy"),))

    def contribute(
        self, repository: Repository, evidence: Evidence, target: Target
    ) -> Contribution:
        del evidence, target
        found = self.act(repository)
        return found if isinstance(found, Contribution) else Contribution()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "toy.txt").write_text("one\ntwo\n")
    return tmp_path


def note(line: int, file: str = "toy.txt") -> Contribution:
    return Contribution(notes=(Note(message="x", origin=Origin(file=file, line=line)),))


def test_a_good_one_returns_its_contribution(root: Path) -> None:
    assert check_buildpack(Toy(lambda _: note(2)), root) == note(2)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda r: (r.root / "new.txt").write_text("x"), "may not write"),
        (lambda r: (r.root / "folder").mkdir(exist_ok=True), "os.mkdir"),
        (lambda _: subprocess.run(["true"], check=True), "subprocess.Popen"),
        (lambda _: socket.getaddrinfo("localhost", 80), "socket.getaddrinfo"),
        (lambda _: note(next(COUNTER)), "two answers"),
        (lambda _: Contribution(post_build=str(Path.cwd())), "two answers"),
        (lambda _: note(99), "the file has 3 lines"),
        (lambda _: note(1, file="gone.txt"), "which is no file"),
        (lambda _: Contribution(start="gone"), "which is no file"),
    ],
)
def test_a_bad_one_is_told(root: Path, act: Callable[[Repository], Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_buildpack(Toy(act), root)


def test_claims_name_files(root: Path) -> None:
    with pytest.raises(ContractError, match=r"claims gone\.txt, which is no file"):
        check_buildpack(Toy(lambda _: None, claim="gone.txt"), root)


def test_an_error_about_the_repository_is_no_fault(root: Path) -> None:
    def fail(_: Repository) -> None:
        raise MalformedFileError("toy.txt:1: is no toy")

    with pytest.raises(MalformedFileError, match="is no toy"):
        check_buildpack(Toy(fail), root)


def test_what_is_not_a_buildpack(root: Path) -> None:
    with pytest.raises(ContractError, match="lacks a member"):
        check_buildpack(object(), root)  # type: ignore[arg-type]


def test_the_watch_ends_with_the_check(root: Path) -> None:
    check_buildpack(Toy(lambda _: None), root)
    (root / "later.txt").write_text("x")
