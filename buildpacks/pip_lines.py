"""The lines of a requirements file, by pip's rules: encodings, continuations, comments.

Source: pip's documentation of the requirements file format, and what pip 25 does where that is
silent.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

from buildpacks.malformed import at, malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.model import Origin

__all__ = ["ParsedLine", "decode", "logical_lines", "parse_line", "without_comment"]

_BOMS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)"
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


class ParsedLine(NamedTuple):
    """A line taken apart: the requirement ("" when there is none) and the options by long name."""

    requirement: str
    options: dict[str, tuple[str, ...]]


def decode(content: bytes, path: str) -> str:
    """Return a requirements file's text: by its byte order mark, its PEP 263 line, or as UTF-8."""
    encoding = "utf-8"
    for mark, name in _BOMS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], name
            break
    else:
        for head in content.split(b"\n")[:2]:
            if declared := re.match(_CODING, head):
                encoding = declared.group(1).decode("ascii")
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise malformed(at(path), f"declares the unknown encoding {encoding}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise malformed(
            at(path, line),
            f"is not {encoding.upper()} (byte 0x{content[error.start]:02x})",
            "save the file as UTF-8",
        ) from error


def logical_lines(text: str, path: str) -> Iterator[tuple[Origin, str]]:
    """Yield the lines that say something, continuations joined, comments gone.

    A joined line has the origin of its first part. Raises as `without_comment` does.
    """
    for number, joined in _joined(text):
        origin = at(path, number)
        if line := without_comment(joined, origin):
            yield origin, line


def without_comment(line: str, origin: Origin) -> str:
    """Return what a line says.

    Raises MalformedFileError for `${VARIABLE}`: pip would put a variable of the shell there, and
    a repository that needs one cannot be built the same way twice.
    """
    said = _COMMENT.sub("", line).strip()
    if variable := _VARIABLE.search(said):
        raise malformed(
            origin,
            f"{variable.group()} would be taken from the environment of whoever builds",
            "write the value itself; index credentials belong in the user's own settings",
        )
    return said


def _joined(text: str) -> Iterator[tuple[int, str]]:
    first, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not comment:
            first = first if parts else number
            parts.append(line.rstrip("\\"))
            continue
        # a comment ends a continuation; the space keeps it a comment once joined
        parts.append(f" {line}" if comment else line)
        yield (first if len(parts) > 1 else number), "".join(parts)
        parts = []
    if parts:
        yield first, "".join(parts)


def parse_line(line: str, origin: Origin) -> ParsedLine:
    """Take one logical line apart; raise MalformedFileError for options that pip does not have."""
    tokens = line.split(" ")
    cut = next((i for i, token in enumerate(tokens) if token.startswith("-")), len(tokens))
    requirement = " ".join(tokens[:cut]).strip()
    if cut == len(tokens):
        return ParsedLine(requirement=requirement, options={})
    from buildpacks.pip_options import parse_options  # few lines have any

    return ParsedLine(requirement, parse_options(" ".join(tokens[cut:]), origin))
