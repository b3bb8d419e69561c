"""Which files differ between two lists of files, and in what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.archive.listing import Member

__all__ = ["FileDifference", "What", "compare_members"]

What = Literal["content", "mode", "kind", "only in the first", "only in the second"]


class FileDifference(Value):
    """A file, folder or link that is not the same in both.

    `what` is its content (of a link, where it leads), its mode where the content is the same, its
    kind (file, folder, link), or that one side lacks it. `by` says who brought it, where known.
    """

    path: str
    what: What
    first: Member | None
    second: Member | None
    by: str | None = None


def compare_members(
    first: Iterable[Member], second: Iterable[Member]
) -> tuple[FileDifference, ...]:
    """Return what differs, by path."""
    one = {member.path: member for member in first}
    other = {member.path: member for member in second}
    found = [
        FileDifference(path=path, what=what, first=one.get(path), second=other.get(path))
        for path in sorted({*one, *other})
        if (what := _what(one.get(path), other.get(path))) is not None
    ]
    return tuple(found)


def _what(one: Member | None, other: Member | None) -> What | None:
    if one is None or other is None:
        return "only in the second" if one is None else "only in the first"
    if one == other:
        return None
    if (one.is_file, one.is_link) != (other.is_file, other.is_link):
        return "kind"
    return "mode" if one.value == other.value else "content"
