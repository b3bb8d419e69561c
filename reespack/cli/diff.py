"""`reespack diff`: what two archives differ in, without unpacking them."""

from __future__ import annotations

import re
import sys
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reespack.cli.console import write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Json,
    Traceback,
    Verbose,
)
from reespack.cli.terminal import columns, size, style_of, table
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reespack.archive.listing import Member
    from reespack.comparing import Comparison, Difference, FileDifference

__all__ = ["diff"]

DIFFERENT = 1
_SHOWN = 20
_ABSENT = "-"
_SIGNS = ("A", "B")
_NARROWEST = 24
_DIGITS = 8
"""Of a digest: enough to tell two apart."""
_DIGEST = re.compile(r"\b[0-9a-f]{32,64}\b")


class _Side(Value):
    """What was named on the command line: a manifest, and the archive that it is of, if there."""

    name: str
    manifest: dict[str, Any]
    archive: Path | None


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="An archive, or its manifest.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    *,
    json: Json = False,
    verbose: Verbose = False,
    _traceback: Traceback = False,
) -> None:
    """Show the settings, packages and files in which two archives differ.

    Nothing is unpacked. The exit code is 0 when they hold the same, and 1 when they do not.
    """
    from reespack.comparing import compare, same_tree

    sides = (_side(first), _side(second))
    manifests = (sides[0].manifest, sides[1].manifest)
    members = None if same_tree(*manifests) else _members(*sides)
    found = compare(*manifests, members)
    if json:
        write_document(_document(sides, found))
    else:
        write_out(_report(sides, found, every=verbose))
    if not found.equal:
        raise typer.Exit(DIFFERENT)


def _side(path: Path) -> _Side:
    """Read an archive's manifest, or one that lies beside an archive or on its own."""
    from reespack.errors import UnpackError
    from reespack.manifest import parse_manifest
    from reespack.unpack import read_manifest

    try:
        with path.open("rb") as file:
            is_json = file.read(1) == b"{"
        if not is_json:
            return _Side(name=str(path), manifest=parse_manifest(read_manifest(path)), archive=path)
        manifest = parse_manifest(path.read_bytes())
    except OSError as error:
        raise UnpackError(f"{path} cannot be read: {error.strerror or error}") from error
    beside = path.with_name(str((manifest.get("archive") or {}).get("file") or path.name))
    archive = beside if beside != path and beside.is_file() else None
    return _Side(name=str(path), manifest=manifest, archive=archive)


def _members(one: _Side, other: _Side) -> tuple[tuple[Member, ...], tuple[Member, ...]] | None:
    """Return both lists of files, when there is an archive for each of the manifests."""
    from reespack.unpack import read_members

    if one.archive is None or other.archive is None:
        return None
    return read_members(one.archive), read_members(other.archive)


# --- for people --------------------------------------------------------------------------------


def _report(sides: tuple[_Side, _Side], found: Comparison, *, every: bool) -> Iterator[str]:
    style, width = style_of(sys.stdout), columns(sys.stdout)
    if found.equal:
        digest = sides[0].manifest["contents"]["tree_digest"]
        yield f"The same packages, settings and files (tree digest {digest[:_DIGITS]})"
        return
    files = found.files or ()
    telling = tuple(one for one in files if every or not _follows(one)) or files
    parts = (
        ("Settings", _rows(found.settings)),
        ("conda packages", _rows(found.conda)),
        ("pip packages", _rows(found.pip)),
        ("Files", _file_rows(telling)),
    )
    shown = {title: rows if every else rows[:_SHOWN] for title, rows in parts}
    # All tables of one width: the two columns go through the whole report.
    wide = _widths([row for rows in shown.values() for row in rows], width)
    for sign, side in zip(_SIGNS, sides, strict=True):
        yield f"{style(sign, 'bold')}  {side.name}"
    for title, rows in parts:
        if not rows:
            continue
        yield ""
        heads = (title.ljust(wide[0]), _SIGNS[0].ljust(wide[1]), _SIGNS[1])
        cells = [
            (_fit(name, wide[0]).ljust(wide[0]), one.ljust(wide[1]), other)
            for name, one, other in shown[title]
        ]
        yield from table(cells, style=style, header=heads, width=width)
        if len(rows) > len(cells):
            yield style(f"... and {len(rows) - len(cells)} more (--verbose has all)", "dim")
    if len(files) > len(telling):
        count = len(files) - len(telling)
        yield style(f"... and {count} folders and bytecode files (--verbose has them)", "dim")
    if found.files is None:
        yield ""
        yield "Files differ; which ones, only the archives know: give those instead of manifests"


def _follows(difference: FileDifference) -> bool:
    """Say whether a difference follows from another: a folder's from its files', bytecode's."""
    folders = [one is None or one.kind == "dir" for one in (difference.first, difference.second)]
    return all(folders) or "__pycache__" in difference.path.split("/")


def _widths(rows: Sequence[tuple[str, str, str]], width: int | None) -> tuple[int, int]:
    """Return the widths of the first two columns; names give way to `width`, if there is one."""
    widest = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    room = widest[0] if width is None else max(width - widest[1] - widest[2] - 4, _NARROWEST)
    return min(widest[0], room), widest[1]


def _fit(name: str, room: int) -> str:
    """Shorten a path in its middle, of which the end says most."""
    if len(name) <= room:
        return name
    end = (room - 3) * 2 // 3
    return f"{name[: room - 3 - end]}...{name[-end:]}"


def _rows(differences: Sequence[Difference]) -> list[tuple[str, str, str]]:
    return [(one.name, _brief(one.first), _brief(one.second)) for one in differences]


def _brief(text: str | None) -> str:
    """Return a value as a table shows it: of a digest the first digits."""
    return _ABSENT if text is None else _DIGEST.sub(lambda found: found[0][:_DIGITS], text)


def _file_rows(differences: Sequence[FileDifference]) -> list[tuple[str, str, str]]:
    return [
        (one.path, _described(one.first, one.what), _described(one.second, one.what))
        for one in differences
    ]


def _described(member: Member | None, what: str) -> str:
    if member is None:
        return _ABSENT
    if member.is_link:
        return f"-> {member.value}"
    if not member.is_file:
        return "folder"
    if what == "mode":
        return member.kind
    return f"{member.kind} {size(member.size)} {member.value[:_DIGITS]}"


# --- for programs ------------------------------------------------------------------------------


def _document(sides: tuple[_Side, _Side], found: Comparison) -> dict[str, object]:
    from reespack.json_form import to_json

    return {
        "format": 1,
        "equal": found.equal,
        "first": _described_side(sides[0]),
        "second": _described_side(sides[1]),
        **{name: to_json(getattr(found, name)) for name in ("settings", "conda", "pip", "files")},
    }


def _described_side(side: _Side) -> dict[str, object]:
    contents = side.manifest["contents"]
    return {
        "path": side.name,
        "name": side.manifest["name"],
        "key": side.manifest["key"],
        "tree_digest": contents["tree_digest"],
    }
