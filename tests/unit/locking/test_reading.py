from __future__ import annotations

import hashlib

import pytest

from reespack.errors import LockError
from reespack.locking.reading import dependencies_first, read_lock
from reespack.products import LockedConda, LockedPip

FOREIGN = """\
version: 1
metadata:
  content_hash: {linux-64: aa, osx-64: bb}
  channels: [{url: "https://$LOCK_USER@host.example/forge", used_env_vars: [LOCK_USER]}]
  platforms: [linux-64, osx-64]
  sources: [environment.yml]
package:
- name: beta
  version: "2"
  manager: conda
  platform: linux-64
  dependencies: {alpha: ">=1,<2 h1_0", __glibc: ""}
  url: https://$LOCK_USER@host.example/forge/linux-64/beta-2-py311_3.conda
  hash: {md5: 0a, sha256: 0b}
  category: main
  optional: false
- name: alpha
  version: "1.10"
  manager: conda
  platform: linux-64
  url: https://$LOCK_USER@host.example/forge/noarch/alpha-1.10-h1_0.tar.bz2
  hash: {md5: 0c}
  category: dev
  optional: true
- name: docs-only
  version: "1"
  manager: conda
  platform: linux-64
  url: https://host.example/forge/noarch/docs-only-1-0.conda
  hash: {md5: 0d}
  category: docs
  optional: true
- name: gitted
  version: "0.1"
  manager: pip
  platform: linux-64
  dependencies: {wheeled: "*"}
  url: git+https://host.example/x.git@0123456789012345678901234567890123456789
  hash: {sha256: "0123456789012345678901234567890123456789"}
  source: {type: url, url: git+https://host.example/x.git@0123456789012345678901234567890123456789}
  category: main
  optional: false
- name: wheeled
  version: 1.0.0
  manager: pip
  platform: linux-64
  dependencies: {}
  url: https://host.example/wheeled-1.0.0-py3-none-any.whl
  hash: {sha256: 0e}
  category: main
  optional: false
- name: sourced
  version: 1.0.0
  manager: pip
  platform: linux-64
  url: https://host.example/sourced-1.0.0.tar.gz
  hash: {sha256: 0f}
  category: main
  optional: false
"""


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCK_USER", "me")


def test_reads_what_conda_lock_writes() -> None:
    lock = read_lock(FOREIGN)
    assert [one.platform for one in lock.platforms] == ["linux-64", "osx-64"]
    chosen = lock.for_platform("linux-64")
    assert chosen is not None
    assert chosen.conda == (
        LockedConda(
            name="alpha",
            version="1.10",
            build="h1_0",
            url="https://me@host.example/forge/noarch/alpha-1.10-h1_0.tar.bz2",
            sha256=None,
            md5="0c",
        ),
        LockedConda(
            name="beta",
            version="2",
            build="py311_3",
            url="https://me@host.example/forge/linux-64/beta-2-py311_3.conda",
            sha256="0b",
            md5="0a",
            depends=("alpha >=1,<2 h1_0", "__glibc"),
        ),
    )
    assert [(one.name, one.kind, one.sha256) for one in chosen.pip] == [
        ("wheeled", "wheel", "0e"),
        ("gitted", "git", None),
        ("sourced", "sdist", "0f"),
    ]
    assert lock.digest == hashlib.sha256(FOREIGN.encode()).hexdigest()


def test_a_project_is_a_path_and_has_no_hash() -> None:
    stand_in = hashlib.sha256(b"./lib").hexdigest()
    text = FOREIGN.replace("https://host.example/sourced-1.0.0.tar.gz", "file:./lib")
    chosen = read_lock(text.replace("sha256: 0f", f"sha256: {stand_in}")).for_platform("linux-64")
    assert chosen is not None
    assert chosen.pip[-1] == LockedPip(
        name="sourced", version="1.0.0", url="./lib", kind="project", sha256=None
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "x.yml:1: the lockfile cannot be read"),
        ("- a", "is not a conda-lock lockfile"),
        ("name: x\ndependencies: []", "is not a conda-lock lockfile"),
        ("version: 2\npackage: []", "version 2"),
        ("version: 1\npackage: []", "v1 format"),
        (FOREIGN.replace("manager: pip", "menager: pip"), "v1 format"),
        (FOREIGN.replace("hash: {md5: 0c}", "hash: null"), "v1 format"),
    ],
)
def test_what_is_no_lockfile_is_an_error(text: str, message: str) -> None:
    with pytest.raises(LockError, match=message):
        read_lock(text, name="x.yml")


def test_dependencies_come_first_and_cycles_end() -> None:
    graph = {"c": ["b"], "b": ["a", "missing"], "a": [], "pip": ["python"], "python": ["pip"]}
    order = dependencies_first(graph)
    assert order == ["a", "b", "c", "python", "pip"]
    assert dependencies_first(dict(reversed(graph.items()))) == order
