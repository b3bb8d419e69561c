"""The one form in which buildpacks say that a file cannot be read."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from reespack.errors import MalformedFileError
from reespack.model import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["at", "malformed", "nearest"]


def at(file: str, line: int | None = None) -> Origin:
    """Return the place `file:line`."""
    return Origin(file=file, line=line)


def malformed(origin: Origin, message: str, hint: str | None = None) -> MalformedFileError:
    """Return the error `file:line: message`, to be raised by the caller."""
    return MalformedFileError(f"{origin}: {message}", hint=hint)


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """Return the valid word that `word` may be a slip of, or None."""
    return next(iter(get_close_matches(word, sorted(valid), n=1, cutoff=0.6)), None)
