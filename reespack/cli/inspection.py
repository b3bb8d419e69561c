"""`reespack inspect`: what an archive holds, without unpacking it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reespack.cli.console import write_document, write_out
from reespack.cli.options import (  # noqa: TC001 - typer reads them at run time
    Archive,
    Json,
    Traceback,
)
from reespack.cli.terminal import Style, columns, style_of, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.manifest import Section

__all__ = ["inspect"]


def inspect(archive: Archive, *, json: Json = False, _traceback: Traceback = False) -> None:
    """Show what an archive holds, from where it came, and how it was made."""
    from reespack.manifest import parse_manifest
    from reespack.unpack import read_manifest

    manifest = parse_manifest(read_manifest(archive))
    if json:
        write_document(manifest)
        return
    from reespack.manifest import summarize

    style, width = style_of(sys.stdout), columns(sys.stdout)
    write_out(line for section in summarize(manifest) for line in _section(section, style, width))


def _section(section: Section, style: Style, width: int | None) -> Iterator[str]:
    yield style(section.title, "bold")
    facts = [("cyan", "")] * len(section.facts)
    yield from table(section.facts, style=style, colors=facts, indent=2, width=width)
    yield from table(section.rows, style=style, header=section.columns, indent=2, width=width)
    if section.omitted:
        yield style(f"  ... and {section.omitted} more (--json has all)", "dim")
    yield ""
