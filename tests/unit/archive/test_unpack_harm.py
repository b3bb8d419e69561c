"""Archives that mean harm: what they say is refused, or means nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from reespack.archive.frames import GzipCodec, ZstdCodec
from reespack.archive.header import END, header, padding
from reespack.archive.listing import Member, format_listing
from reespack.errors import UnpackError, VerificationError
from reespack.files import sha256_bytes, sha256_file
from reespack.unpack import processes, read_manifest, unpack

FINE = Member("fine", "0644", 4, sha256_bytes(b"fine"))


Forge = Callable[..., Path]


@pytest.fixture(params=["one frame", "a frame each"])
def forge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Forge:
    """Write an archive, also one for several processes."""
    for name in ("_SMALLEST", "_BYTES", "_FILES"):
        monkeypatch.setattr(processes, name, 1)
    return partial(forged, in_frames=request.param != "one frame")


def forged(
    path: Path,
    listed: list[Member],
    inside: list[tuple[Member, bytes]] | None = None,
    *,
    in_frames: bool,
) -> Path:
    """Write an archive whose listing and members are whatever is asked for."""
    content = b'{"placeholders": [], "files": []}'
    folders = [Member("share", "dir", 0, "-"), Member("share/reespack", "dir", 0, "-")]
    table = Member("share/reespack/placeholders.json", "0644", len(content), sha256_bytes(content))
    head = [*folders, table]
    listing = format_listing([*head, *listed])
    members = [
        (Member("share/reespack/manifest.json", "0644", 2, "-"), b"{}"),
        (Member("share/reespack/files.tsv", "0644", len(listing), "-"), listing),
        *((member, content if member is table else b"") for member in head),
        *(inside if inside is not None else [(m, b"fine" if m.size else b"") for m in listed]),
    ]
    tar = [header(member, 0) + data + bytes(padding(len(data))) for member, data in members]
    tar = [tar[0], b"".join(tar[1:5]), *tar[5:], END]  # the manifest, the lists, and the rest
    codec = ZstdCodec()
    if in_frames:
        frames = [codec.compress(part) for part in tar]
        sizes = [(len(frame), len(part)) for frame, part in zip(frames, tar, strict=True)]
        path.write_bytes(b"".join(frames) + codec.index(sizes))
    else:
        path.write_bytes(codec.compress(b"".join(tar)))
    return path


@pytest.mark.parametrize(
    "listed",
    [
        [Member("/etc/evil", "0644", 4, FINE.value)],
        [Member("../evil", "0644", 4, FINE.value)],
        [Member("a", "dir", 0, "-"), Member("a/../../evil", "0644", 4, FINE.value)],
        [Member("link", "link", 0, "/etc"), Member("link/evil", "0644", 4, FINE.value)],
        [Member("link", "link", 0, "share"), Member("link/evil", "0644", 4, FINE.value)],
        [Member("link", "link", 0, "../../etc/passwd")],
        [Member("link", "link", 0, "/etc/passwd")],
        [Member("up", "link", 0, "share/.."), Member("out", "link", 0, "up/../..")],
        [FINE, FINE],
        [Member("share/reespack/manifest.json", "0644", 4, FINE.value)],
        [Member("fine", "4755", 4, FINE.value)],
        [Member("fine", "0644", 4, "no digest")],
        [Member("fine/", "dir", 0, "-")],
        [Member("nul\0", "dir", 0, "-")],
    ],
)
def test_a_listing_that_leads_out_is_refused(
    tmp_path: Path, forge: Forge, listed: list[Member]
) -> None:
    good = [Member(f"good{number}", "0644", 4, FINE.value) for number in range(3)]
    archive = forge(tmp_path / "evil.tar.zst", [*good, *listed])
    with pytest.raises(UnpackError):
        unpack(archive, tmp_path / "deep/x", threads=2)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "evil.tar.zst"]


@pytest.mark.parametrize(
    "inside",
    [
        [(Member("../evil", "0644", 4, "-"), b"fine")],
        [(Member("fine", "link", 0, "/etc/passwd"), b"")],
        [(Member("fine", "0755", 4, "-"), b"fine")],
        [(FINE, b"evil")],
        [(FINE, b"fine"), (Member("more", "0644", 4, "-"), b"fine")],
        [],
    ],
)
def test_members_that_are_not_as_listed_are_refused(
    tmp_path: Path, forge: Forge, inside: list[tuple[Member, bytes]]
) -> None:
    archive = forge(tmp_path / "evil.tar.zst", [FINE], inside)
    with pytest.raises(VerificationError):
        unpack(archive, tmp_path / "x", threads=2)
    assert not (tmp_path / "x").exists()


def test_the_forged_archive_is_otherwise_a_good_one(tmp_path: Path, forge: Forge) -> None:
    archive = forge(tmp_path / "good.tar.zst", [FINE, Member("out", "outside", 0, "/etc/hosts")])
    root = unpack(archive, tmp_path / "x", threads=2).path
    assert (root / "fine").read_text() == "fine"
    assert (root / "out").is_symlink()


def test_headers_mean_nothing_where_the_sum_is_known(tmp_path: Path, forge: Forge) -> None:
    inside = [(Member("../evil", "0755", 4, "-"), b"fine")]
    archive = forge(tmp_path / "evil.tar.zst", [FINE], inside)
    root = unpack(archive, tmp_path / "x", threads=2, sha256=sha256_file(archive)).path
    assert (root / "fine").read_text() == "fine"
    assert (root / "fine").stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.zst", "x"]


def test_a_manifest_of_less_than_nothing_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.zst"
    member = Member("share/reespack/manifest.json", "0644", -1, "-")
    archive.write_bytes(ZstdCodec().compress(header(member, 0) + END))
    with pytest.raises(UnpackError, match="not made by reespack"):
        read_manifest(archive)


def test_a_frame_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(GzipCodec().compress(bytes(400_000_000)))
    with pytest.raises(UnpackError):
        unpack(bomb, tmp_path / "x", threads=1)
