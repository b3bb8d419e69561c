from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from reespack.errors import ArchiveChangedError, UnpackError
from reespack.installing import digest as digest_module
from reespack.installing.digest import Snapshot, digest_of, remember, sum_of

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"an archive"
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    path = tmp_path / "a.tar.zst"
    path.write_bytes(CONTENT)
    return path


def test_a_sum_is_computed_once(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    assert digest_of(Snapshot(archive), store) == SUM
    monkeypatch.setattr(digest_module, "sum_of", None)
    assert digest_of(Snapshot(archive), store) == SUM
    os.utime(archive, (5, 5))
    with pytest.raises(TypeError):
        digest_of(Snapshot(archive), store)


def test_sums_beside_it_are_believed_unless_they_are_older(archive: Path, tmp_path: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  other\n{'1' * 64}  a.tar.zst\n")
    assert digest_of(Snapshot(archive), tmp_path / "store") == "1" * 64
    os.utime(sums, (1, 1))
    assert digest_of(Snapshot(archive), tmp_path / "store") == SUM


def test_a_manifest_beside_it_is_believed_unless_it_is_older(archive: Path, tmp_path: Path) -> None:
    beside = tmp_path / "a.manifest.json"
    beside.write_text(f'{{"archive": {{"sha256": "{"1" * 64}", "size": {len(CONTENT)}}}}}')
    assert digest_of(Snapshot(archive), tmp_path / "store") == "1" * 64
    # An older one has to be in the archive, too, and this is none.
    os.utime(beside, (1, 1))
    assert digest_of(Snapshot(archive), tmp_path / "store") == SUM
    beside.write_text("{")
    assert digest_of(Snapshot(archive), tmp_path / "store") == SUM


def test_a_memory_that_cannot_be_written_is_no_reason_to_fail(archive: Path) -> None:
    remember(Snapshot(archive), archive / "no folder", SUM)


def test_a_change_is_noticed(archive: Path) -> None:
    snapshot = Snapshot(archive)
    snapshot.require_same()
    archive.write_bytes(b"another thing")
    with pytest.raises(ArchiveChangedError, match="changed while it was read"):
        sum_of(snapshot)
    archive.unlink()
    with pytest.raises(ArchiveChangedError, match="went away"):
        snapshot.require_same()
    with pytest.raises(UnpackError, match="cannot be read"):
        Snapshot(archive)
