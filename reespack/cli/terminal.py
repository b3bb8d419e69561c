"""Colours, widths and tables, without anything that takes long to import."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

__all__ = [
    "Style",
    "columns",
    "flowed",
    "has_color",
    "plain",
    "size",
    "style_of",
    "table",
    "titled",
]

_CODES = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bold": 1, "dim": 2}
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NARROWEST = 20
"""Columns that the last column of a table gets at least."""


def has_color(stream: TextIO) -> bool:
    """Say whether a stream is to be coloured (https://no-color.org, and FORCE_COLOR)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Style:
    """Puts colours around text, or does nothing."""

    __slots__ = ("enabled",)

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    def __call__(self, text: str, *names: str) -> str:
        """Return `text` in the colours and weights of these names."""
        if not self.enabled or not text or not names:
            return text
        codes = ";".join(str(_CODES[name]) for name in names)
        return f"\x1b[{codes}m{text}\x1b[0m"


def style_of(stream: TextIO) -> Style:
    """Return the style that suits a stream."""
    return Style(enabled=has_color(stream))


def columns(stream: TextIO) -> int | None:
    """Return the width that lines are broken at; None for what is no terminal: they are not."""
    if not stream.isatty() and "COLUMNS" not in os.environ:
        return None
    import shutil  # it brings compressors; most output is as wide as it is

    return shutil.get_terminal_size().columns


def plain(line: str) -> str:
    """Return a program's line of output without escape codes; of a redrawn line, the last state."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return _CONTROL.sub("", _ESCAPES.sub("", last))


def size(number: int) -> str:
    """Return a number of bytes in a few digits."""
    if number < 1000:  # noqa: PLR2004 - a kilobyte
        return f"{number} B"
    value = float(number)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5 or unit == "GB":  # noqa: PLR2004 - rounds to 1000
            break
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"  # noqa: PLR2004 - 3 digits


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]


def flowed(line: str, *, width: int | None) -> list[str]:
    """Return a line broken at words to fit `width`, what follows indented as it is itself.

    Words are never broken: a path or a URL is there to be copied.
    """
    if width is None or len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    import textwrap  # most of what is said fits

    return textwrap.wrap(
        line,
        width,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def titled(title: str, shown: str, text: str, *, width: int | None) -> list[str]:
    """Return `text` after a title, broken to fit `width`; `shown` is the title without colours."""
    first, *rest = flowed(f"{shown} {text}", width=width)
    return [f"{title}{first.removeprefix(shown)}", *rest]


def table(  # noqa: PLR0913 - how a table looks
    rows: Sequence[Sequence[str]],
    *,
    style: Style,
    colors: Sequence[Sequence[str]] = (),
    header: Sequence[str] = (),
    indent: int = 0,
    width: int | None = None,
) -> list[str]:
    """Return the lines of a table with aligned columns.

    The last column is broken at words so that lines stay within `width`; `colors` has a colour
    name (or "") for each cell. Lines have no space at their end.
    """
    if not rows:
        return []
    every = [header, *rows] if header else list(rows)
    widths = [max(len(row[i]) for row in every) for i in range(len(every[0]) - 1)]
    before = indent + sum(widths) + 2 * len(widths)
    room = None if width is None else max(width - before, _NARROWEST)
    lines: list[str] = []
    for number, row in enumerate(every):
        is_header = bool(header) and number == 0
        index = number - bool(header)
        names = ["dim"] * len(row) if is_header else (colors[index] if colors else [""] * len(row))
        last = [row[-1]] if room is None else _wrapped(row[-1], room)
        for part, text in enumerate(last):
            cells = [cell if part == 0 else "" for cell in row[:-1]]
            padded = [
                style(cell, *filter(None, [name])) + " " * (wide - len(cell))
                for cell, name, wide in zip(cells, names, widths, strict=False)
            ]
            padded.append(style(text, *filter(None, [names[-1]])))
            lines.append((" " * indent + "  ".join(padded)).rstrip())
    return lines
