"""The options of a requirements file's lines, taken apart as pip does: with optparse.

Source: pip's documentation of the requirements file format, and what pip 25 does where that is
silent.
"""

from __future__ import annotations

import optparse
import shlex
from typing import TYPE_CHECKING, NoReturn

from buildpacks.malformed import malformed, nearest

if TYPE_CHECKING:
    from reespack.model import Origin

__all__ = ["parse_options"]

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


def parse_options(line: str, origin: Origin) -> dict[str, tuple[str, ...]]:
    """Return the values of each option in `line` by its long name; "" for a flag.

    Raises MalformedFileError for options that pip does not have, and for what is none.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise malformed(origin, f"`{line}` has an unclosed quote") from error
    try:
        values, rest = _parser().parse_args(words)
    except _OptionError as error:
        raise malformed(origin, str(error), _option_hint(words)) from error
    if rest:
        raise malformed(origin, f"`{' '.join(rest)}` is left over after the options of this line")
    return {name: tuple(found) for name, found in vars(values).items() if found}


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
