"""The listing: read many members at a time, it says what is wrong with the first one."""

from __future__ import annotations

import pytest

from reespack.archive import listing
from reespack.archive.listing import Member, format_listing, parse_listing
from reespack.errors import UnpackError

SUM = "0123456789abcdef" * 4
FINE = (
    Member("a", "dir", 0, "-"),
    Member("a/file", "0644", 3, SUM),
    Member("a/b", "dir", 0, "-"),
    Member("a/b/tab\tbackslash\\line\nend", "0755", 0, SUM),
    Member("a/b/caf\udce9", "link", 0, "../file"),
    Member("out", "outside", 0, "/usr/bin/python"),
    Member("top", "0644", 1 << 40, SUM),
)


@pytest.fixture(params=[1, 2, 3, 2000], autouse=True)
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many members are looked at together."""
    size: int = request.param
    monkeypatch.setattr(listing, "_BATCH", size)
    return size


def test_it_comes_back_as_it_was() -> None:
    assert parse_listing(format_listing(FINE)) == FINE
    assert parse_listing(b"") == ()


@pytest.mark.parametrize("place", range(len(FINE) + 1))
@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (Member("/etc", "0644", 0, SUM), "no path inside"),
        (Member("/a/c", "0644", 0, SUM), "no path inside"),
        (Member("", "dir", 0, "-"), "no path inside"),
        (Member(".", "dir", 0, "-"), "no path inside"),
        (Member("..", "dir", 0, "-"), "no path inside"),
        (Member("share/reespack/manifest.json", "0644", 0, SUM), "comes twice"),
        (Member("nowhere/file", "0644", 0, SUM), "folder that is not listed"),
        (Member("self/self", "dir", 0, "-"), "folder that is not listed"),
        (Member("new", "4755", 0, SUM), "no known kind"),
        (Member("new", "0644", -1, SUM), "no known kind"),
        (Member("n\0ew", "0644", 0, SUM), "no known kind"),
        (Member("new", "link", 0, "a\0b"), "no known kind"),
        (Member("new", "0644", 0, "-"), "no sha256"),
        (Member("new", "0644", 0, SUM + "0"), "no sha256"),
        (Member("new", "0644", 0, SUM[1:] + "g"), "no sha256"),
        (Member("new", "0644", 0, SUM[1:] + "\udce9"), "no sha256"),
        (Member("new", "dir", 1, "-"), "no content"),
        (Member("new", "link", 0, ""), "leads out"),
        (Member("new", "link", 0, "/etc/passwd"), "leads out"),
        (Member("new", "link", 0, "a/../.."), "leads out"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(place: int, member: Member, problem: str) -> None:
    content = format_listing([*FINE[:place], member, *FINE[place:]])
    with pytest.raises(UnpackError, match=problem) as raised:
        parse_listing(content)
    assert f"files.tsv:{place + 1}: {member.path!r} " in raised.value.message


@pytest.mark.parametrize("kind", ["0644", "link", "outside"])
def test_nothing_lies_in_what_is_no_folder(kind: str) -> None:
    within = Member("top/file", "0644", 0, SUM)
    top = Member("top", kind, 0, SUM if kind == "0644" else "a")
    with pytest.raises(UnpackError, match=r"files\.tsv:7: 'top/file' lies in a folder"):
        parse_listing(format_listing([*FINE[:5], top, within]))


def test_a_folder_comes_before_what_is_in_it() -> None:
    swapped = [FINE[1], FINE[0], *FINE[2:]]
    with pytest.raises(UnpackError, match=r"files\.tsv:1: 'a/file' lies in a folder"):
        parse_listing(format_listing(swapped))


@pytest.mark.parametrize("twice", FINE, ids=lambda member: member.kind)
def test_nothing_comes_twice(twice: Member) -> None:
    with pytest.raises(UnpackError, match=r"files\.tsv:8: .* comes twice"):
        parse_listing(format_listing([*FINE, twice]))


@pytest.mark.parametrize("line", [b"\n", b"a\tb\n", b"a\tdir\tnone\t-\n", b"a\tdir\t0\t-\t-\n"])
def test_what_is_no_line(line: bytes, batch: int) -> None:
    content = format_listing(FINE)
    with pytest.raises(UnpackError, match=r"files\.tsv:\d+: is not a line of a listing") as raised:
        parse_listing(content + line)
    assert f":{len(FINE) + 1}:" in raised.value.message, batch
