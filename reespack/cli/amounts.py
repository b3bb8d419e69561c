"""Sizes and durations as a person types them."""

from __future__ import annotations

import re

from reespack.errors import UsageError

__all__ = ["parse_duration", "parse_size"]

_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZES |= {f"{unit}i": 1 << (10 * power) for power, unit in enumerate("kmgt", start=1)}
_DURATIONS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)\s*"


def parse_size(text: str, *, option: str) -> int:
    """Return a number of bytes: `10GB`, `500 MiB`, `0`. Raises UsageError that names `option`."""
    found = re.fullmatch(_NUMBER + r"(?:([kmgt]i?)?b?)", text.strip().lower())
    plain = re.fullmatch(_NUMBER, text.strip())
    # A forgotten unit would empty the cache.
    if not found or (plain and float(plain[1])):
        what = "has no unit" if plain else "is not a size"
        raise UsageError(f"{option}: {text!r} {what}", hint="for example 500MB, 10GB or 1.5TiB")
    return int(float(found[1]) * _SIZES[found[2] or ""])


def parse_duration(text: str, *, option: str) -> float:
    """Return a number of seconds: `30d`, `12h`, `2w`. Raises UsageError that names `option`."""
    found = re.fullmatch(_NUMBER + r"(s|m|h|d|w|y)", text.strip().lower())
    if not found:
        what = "has no unit" if re.fullmatch(_NUMBER, text.strip()) else "is not a duration"
        raise UsageError(
            f"{option}: {text!r} {what}",
            hint="for example 12h, 30d or 8w: s, m, h, d, w and y are seconds to years",
        )
    return float(found[1]) * _DURATIONS[found[2]]
