"""`reespack config show`: every setting, and where it comes from."""

from __future__ import annotations

import sys

from reespack.cli.console import write_document, write_out
from reespack.cli.options import Json, Traceback  # noqa: TC001 - typer reads them at run time
from reespack.cli.terminal import columns, style_of, table

__all__ = ["show"]


def show(*, json: Json = False, _traceback: Traceback = False) -> None:
    """Print each setting, its value, and the file, variable or flag that it comes from."""
    from reespack.config import describe, load_settings

    rows = describe(load_settings())
    if json:
        write_document({"settings": [{"name": n, "value": v, "origin": o} for n, v, o in rows]})
        return
    style = style_of(sys.stdout)
    shown = [(name, _text(value), origin) for name, value, origin in rows]
    # A long value goes over the line's end rather than push all origins off the screen.
    colors = [
        ("", "" if origin == "default" else "bold", "dim" if origin == "default" else "cyan")
        for _, _, origin in rows
    ]
    write_out(
        table(
            shown,
            style=style,
            colors=colors,
            header=("SETTING", "VALUE", "FROM"),
            width=columns(sys.stdout),
        )
    )


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
