"""`reespack config show`: every setting, and where it comes from."""

from __future__ import annotations

import sys

from reespack.cli.console import write_document, write_out
from reespack.cli.options import Json, Traceback  # noqa: TC001 - typer reads them at run time
from reespack.cli.terminal import Style, columns, style_of, table

__all__ = ["show"]

DEFAULT = "default"


def show(*, json: Json = False, _traceback: Traceback = False) -> None:
    """Print each setting, its value, and the file, variable or flag that it comes from."""
    from reespack.config import describe, load_settings

    rows = describe(load_settings())
    if json:
        write_document({"settings": [{"name": n, "value": v, "origin": o} for n, v, o in rows]})
        return
    write_out(_shown(rows, style_of(sys.stdout), columns(sys.stdout)))


def _shown(rows: tuple[tuple[str, object, str], ...], style: Style, width: int | None) -> list[str]:
    """Return a table of three columns, or where that is too wide, origins below their values."""
    head = ("SETTING", "VALUE", "FROM")
    values = [(name, _texts(value), origin) for name, value, origin in rows]
    wide = [
        (name, text, origin) if number == 0 else ("", text, "")
        for name, texts, origin in values
        for number, text in enumerate(texts)
    ]
    widest = [max(len(cell) for cell in column) for column in zip(head, *wide, strict=True)]
    if width is None or sum(widest) + 4 <= width:
        colors = [("bold", "", "dim" if origin == DEFAULT else "cyan") for _, _, origin in wide]
        return table(wide, style=style, colors=colors, header=head)
    narrow: list[tuple[str, str, str]] = []
    for name, texts, origin in values:
        narrow += [(name if number == 0 else "", text, "") for number, text in enumerate(texts)]
        narrow += [("", f"({origin})", "cyan")] if origin != DEFAULT else []
    return table(
        [row[:2] for row in narrow],
        style=style,
        colors=[("bold", row[2]) for row in narrow],
        header=head[:2],
    )


def _texts(value: object) -> list[str]:
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
