from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from reespack.channels import ChannelSettings
from reespack.errors import LockError, StaleLockError
from reespack.locking import given_lock
from reespack.locking.asked import quiet_conda_lock
from reespack.model import EnvironmentSpec, LockfileInput, Repository

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.products import Lock

ENVIRONMENT = """\
channels: [conda-forge]
dependencies:
- python =3.11
- ipykernel
- pip: [idna]
"""
KERNEL = """\
- name: ipykernel
  version: "7"
  manager: conda
  platform: linux-64
  dependencies: {}
  url: https://host.example/noarch/ipykernel-7-0.conda
  hash: {md5: 0a}
  category: main
  optional: false
"""


def content_hash(folder: Path, **more: object) -> str:
    """Have conda-lock itself compute the hash of environment.yml."""
    with quiet_conda_lock():
        from conda_lock.conda_lock import make_lock_spec
        from conda_lock.content_hash import compute_content_hashes
        from conda_lock.virtual_package import default_virtual_package_repodata

        mapping = folder / "mapping.json"
        mapping.write_text("{}")
        spec = make_lock_spec(
            src_files=[folder / "environment.yml"],
            platform_overrides=["linux-64"],
            mapping_url=str(mapping),
        )
        mapping.unlink()
        return compute_content_hashes(spec, default_virtual_package_repodata(), **more)["linux-64"]


def lockfile(digest: str, packages: str = KERNEL, sources: str = "[environment.yml]") -> str:
    return (
        f"version: 1\nmetadata:\n  content_hash: {{linux-64: {digest}}}\n"
        "  channels: [{url: conda-forge, used_env_vars: []}]\n  platforms: [linux-64]\n"
        f"  sources: {sources}\npackage:\n{packages}"
    )


def given(
    root: Path, path: str = "conda-lock.yml", kind: str = "conda-lock", platform: str = "linux-64"
) -> Lock:
    spec = EnvironmentSpec(
        name="x",
        platform=platform,
        channels=("conda-forge",),
        lockfile=LockfileInput(path=path, kind=kind),  # type: ignore[arg-type]
    )
    return given_lock(
        spec,
        repository=Repository(root=root, top=root, name="x", source=str(root)),
        channels=ChannelSettings(cache=root.parent / "cache", offline=True),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder


def test_a_fresh_lock_is_used_as_it_is(root: Path) -> None:
    (root / "environment.yml").write_text(ENVIRONMENT)
    text = lockfile(content_hash(root))
    (root / "conda-lock.yml").write_text(text)
    lock = given(root)
    assert lock.given
    assert lock.text == text
    assert lock.notes == ()


def test_older_hashes_are_accepted(root: Path) -> None:
    (root / "environment.yml").write_text(ENVIRONMENT)
    older = content_hash(root, reinsert_spurious_build_number=False, remove_new_nulls=False)
    assert older != content_hash(root)
    (root / "conda-lock.yml").write_text(lockfile(older))
    assert given(root).given


@pytest.mark.parametrize(
    "sources", ["[environment.yml]", "[elsewhere.yml]", "[../environment.yml]"]
)
def test_a_stale_lock_is_an_error(root: Path, sources: str) -> None:
    (root / "environment.yml").write_text(ENVIRONMENT)
    text = lockfile(content_hash(root), sources=sources)
    (root / "environment.yml").write_text(ENVIRONMENT + "- numpy\n")
    (root / "conda-lock.yml").write_text(text)
    with pytest.raises(StaleLockError, match=r"conda-lock\.yml: .* environment\.yml") as caught:
        given(root)
    assert "--update-lock" in (caught.value.hint or "")


def test_the_lock_in_binder_belongs_to_the_file_beside_it(root: Path) -> None:
    folder = root / "binder"
    folder.mkdir()
    (folder / "environment.yml").write_text(ENVIRONMENT)
    (folder / "conda-lock.yml").write_text(lockfile(content_hash(folder)))
    (root / "environment.yml").write_text("dependencies: [other]")
    assert given(root, "binder/conda-lock.yml").given


def test_channels_given_to_conda_lock_do_not_make_it_stale(root: Path) -> None:
    (root / "environment.yml").write_text(ENVIRONMENT)
    digest = content_hash(root)
    (root / "environment.yml").write_text(ENVIRONMENT.replace("conda-forge", "other"))
    (root / "conda-lock.yml").write_text(lockfile(digest))
    assert given(root).given


def test_a_lock_without_its_source_is_taken_at_its_word(root: Path) -> None:
    (root / "conda-lock.yml").write_text(lockfile("00"))
    assert given(root).given


def test_sources_that_conda_lock_cannot_read_are_reported(root: Path) -> None:
    (root / "environment.yml").write_text("dependencies: [{pip: ['-r requirements.txt']}]")
    (root / "conda-lock.yml").write_text(lockfile("00"))
    (note,) = given(root).notes
    assert "environment.yml" in note.message


def test_a_missing_platform_is_an_error(root: Path) -> None:
    (root / "conda-lock.yml").write_text(lockfile("00"))
    with pytest.raises(LockError, match="nothing for linux-aarch64") as caught:
        given(root, platform="linux-aarch64")
    assert "-p linux-aarch64" in (caught.value.hint or "")


def test_a_missing_kernel_is_an_error(root: Path) -> None:
    (root / "conda-lock.yml").write_text(lockfile("00", KERNEL.replace("ipykernel", "numpy")))
    with pytest.raises(LockError, match="has no ipykernel"):
        given(root)


# --- explicit files ----------------------------------------------------------------------------


def package(folder: Path, stem: str, *depends: str) -> Path:
    """Write a .conda file that is in no channel."""
    import io
    import tarfile

    import zstandard

    name, version, build = stem.rsplit("-", 2)
    index = {"name": name, "version": version, "build": build, "build_number": 0}
    content = json.dumps({**index, "depends": depends, "subdir": "noarch"}).encode()
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("info/index.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    path = folder / "noarch" / f"{stem}.conda"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        file.writestr(f"info-{stem}.tar.zst", zstandard.compress(tar.getvalue()))
        file.writestr(f"pkg-{stem}.tar.zst", zstandard.compress(empty.getvalue()))
    return path


def test_an_explicit_file_becomes_a_lock(root: Path) -> None:
    kernel = package(root, "ipykernel-7.0-0", "tool >=1", "python")
    tool = package(root, "tool-x-1.0-py_1")
    md5 = hashlib.md5(kernel.read_bytes(), usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(tool.read_bytes()).hexdigest()
    (root / "conda-linux-64.lock").write_text(
        f"# platform: linux-64\n@EXPLICIT\n{kernel.as_uri()}#{md5}\n"
        f"{tool.as_uri()}#sha256:{sha256}\n"
        f"# pip Idna @ https://host.example/idna-3.4-py3-none-any.whl#sha256={sha256}\n"
    )
    lock = given(root, "conda-linux-64.lock", "explicit")
    chosen = lock.for_platform("linux-64")
    assert chosen is not None
    assert [(p.name, p.version, p.build, p.depends) for p in chosen.conda] == [
        ("ipykernel", "7.0", "0", ("tool >=1", "python")),
        ("tool-x", "1.0", "py_1", ()),
    ]
    assert (chosen.conda[0].md5, chosen.conda[1].sha256) == (md5, sha256)
    assert chosen.conda[1].md5 == hashlib.md5(tool.read_bytes(), usedforsecurity=False).hexdigest()
    assert [(p.name, p.version, p.kind, p.sha256) for p in chosen.pip] == [
        ("idna", "3.4", "wheel", sha256)
    ]
    assert lock.given
    assert lock.notes == ()


def test_an_explicit_file_as_conda_lock_parses_it_too(root: Path, tmp_path: Path) -> None:
    kernel = package(root, "ipykernel-7.0-0")
    (root / "explicit.txt").write_text(f"@EXPLICIT\n{kernel.as_uri()}\n")
    lock = given(root, "explicit.txt", "explicit")
    (note,) = lock.notes
    assert str(note.origin) == "explicit.txt:2"
    written = tmp_path / "conda-lock.yml"
    written.write_text(lock.text)
    with quiet_conda_lock():
        from conda_lock.lockfile import parse_conda_lock_file

        assert [one.name for one in parse_conda_lock_file(written).package] == ["ipykernel"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("numpy", "e.lock:2: 'numpy' is not a URL"),
        ("https://h.example/noarch/numpy-1.tar.gz", "e.lock:2: .* not a conda package"),
        ("https://h.example/noarch/a-1-0.conda#123", "e.lock:2: #123 is neither"),
        ("https://h.example/osx-64/a-1-0.conda", "e.lock:2: .* not for linux-64"),
        ("file:///nowhere/noarch/a-1-0.conda#sha256:" + "0" * 64, "e.lock:2: .* cannot be read"),
        ("# platform: osx-64", "e.lock: is for osx-64"),
        ("# pip idna==3", "e.lock:2: not in the form"),
    ],
)
def test_errors_in_an_explicit_file_name_the_line(root: Path, line: str, message: str) -> None:
    (root / "e.lock").write_text(f"@EXPLICIT\n{line}\n")
    with pytest.raises(LockError, match=message):
        given(root, "e.lock", "explicit")
