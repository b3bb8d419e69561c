"""The lines of a requirements file, by pip's rules: encodings, continuations, comments, options.

Source: pip's documentation of the requirements file format, and what pip 25 does where that is
silent.
"""

from __future__ import annotations

import codecs
import optparse
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from buildpacks.malformed import at, malformed, nearest

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
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")

_WITH_VALUE = {
    "constraint": ("-c", "--constraint"),
    "requirement": ("-r", "--requirement"),
    "editable": ("-e", "--editable"),
    "index-url": ("-i", "--index-url", "--pypi-url"),
    "extra-index-url": ("--extra-index-url",),
    "find-links": ("-f", "--find-links"),
    "no-binary": ("--no-binary",),
    "only-binary": ("--only-binary",),
    "trusted-host": ("--trusted-host",),
    "use-feature": ("--use-feature",),
    "global-option": ("--global-option",),
    "config-settings": ("-C", "--config-setting", "--config-settings"),
    "hash": ("--hash",),
}
_FLAGS = ("no-index", "prefer-binary", "require-hashes", "pre")
_SLIPS = tuple(flag for flags in _WITH_VALUE.values() for flag in flags)


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
            if declared := _CODING.match(head):
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
    try:
        words = shlex.split(" ".join(tokens[cut:]))
    except ValueError as error:
        raise malformed(origin, f"`{line}` has an unclosed quote") from error
    try:
        values, rest = _parser().parse_args(words)
    except _OptionError as error:
        raise malformed(origin, str(error), _option_hint(words)) from error
    if rest:
        raise malformed(origin, f"`{' '.join(rest)}` is left over after the options of this line")
    given = {name: tuple(found) for name, found in vars(values).items() if found}
    return ParsedLine(requirement=requirement, options=given)


class _OptionError(Exception):
    """What optparse has against a line."""


class _OptionParser(optparse.OptionParser):
    """pip's own kind of parser (abbreviations, `-rfile`, `--x=y`), without its sys.exit."""

    def error(self, msg: str) -> NoReturn:
        """Raise instead of leaving the program."""
        raise _OptionError(msg)


def _parser() -> optparse.OptionParser:
    """Return a parser whose values are lists, under each option's long name."""
    parser = _OptionParser(add_help_option=False)
    for name, flags in _WITH_VALUE.items():
        parser.add_option(*flags, action="append", dest=name)
    for name in _FLAGS:
        parser.add_option(f"--{name}", action="append_const", const="", dest=name)
    return parser


def _option_hint(words: list[str]) -> str | None:
    unknown = next((word.split("=")[0] for word in words if word.startswith("--")), None)
    if unknown is None:
        return "pip's options for requirements files are meant here"
    near = nearest(unknown, (*_SLIPS, *(f"--{flag}" for flag in _FLAGS)))
    return f"did you mean `{near}`?" if near and near != unknown else None
