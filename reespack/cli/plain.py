"""Words as most people type them, understood without typer.

typer takes as long to import as all that a command needs which finds its work done. What is not
plain (an abbreviation, two letters after one dash, a mistake, a question for help) is left to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FLAGS", "Words", "count", "understood"]

FLAGS = {
    "--json": "json",
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
}
"""Those that most commands have."""


class Words(NamedTuple):
    """What a command takes: its arguments in order, flags, and options that have a value.

    All lead to the name of a parameter; what has a value leads to what makes it of a word, too, and
    raises ValueError for a word that is none.
    """

    arguments: Mapping[str, Callable[[str], Any]]
    flags: Mapping[str, str]
    options: Mapping[str, tuple[str, Callable[[str], Any]]]


def understood(words: Sequence[str], known: Words) -> dict[str, Any] | None:
    """Return the parameters that typer would make of `words`, or None if it is to be asked."""
    given: dict[str, Any] = {}
    arguments: list[str] = []
    left = iter(words)
    try:
        for word in left:
            if word == "--":
                arguments += left
            elif not word.startswith("-"):
                arguments.append(word)
            elif word in known.flags:
                given[known.flags[word]] = True
            elif word in known.options:
                name, value = known.options[word]
                given[name] = value(_value(next(left, "-")))
            else:
                return None
        named = zip(known.arguments.items(), arguments, strict=True)
        return {**{name: value(word) for (name, value), word in named}, **given}
    except ValueError:  # of a value, or of zip: too few arguments, or too many
        return None


def _value(word: str) -> str:
    if word.startswith("-"):
        raise ValueError(word)
    return word


def count(word: str) -> int:
    """Return a number in plain digits; raise ValueError for anything else."""
    if not word.isdecimal():
        raise ValueError(word)
    return int(word)
