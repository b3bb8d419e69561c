"""A row of the table: two figures, how they are compared, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Kind", "Row"]

Kind = Literal["speedup", "ratio", "difference", "memory", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured, in seconds or bytes, and the limit.

    `kind` says what the limit bounds: `speedup` the peer's figure over ours (at least), `ratio`
    ours over the peer's, `difference` ours less the peer's in seconds, `memory` ours in bytes (all
    at most), `count` ours (at least). `size` says that the figures are sizes. A row with a `flaw`
    fails whatever its figures are; one without figures could not be measured, and the flaw says
    why.
    """

    name: str
    what: str
    against: str
    kind: Kind
    limit: float
    ours: float | None = None
    peer: float | None = None
    size: bool = False
    flaw: str | None = None

    @property
    def value(self) -> float | None:
        """Return what is held against the limit; None when it could not be measured."""
        if self.ours is None:
            return None
        if self.kind in {"memory", "count"}:
            return self.ours
        if self.peer is None:
            return None
        if self.kind == "difference":
            return self.ours - self.peer
        return self.peer / self.ours if self.kind == "speedup" else self.ours / self.peer

    @property
    def passed(self) -> bool:
        """Say whether the limit is kept."""
        value = self.value
        if value is None or self.flaw:
            return False
        return value >= self.limit if self._at_least else value <= self.limit

    @property
    def _at_least(self) -> bool:
        return self.kind in {"speedup", "count"}

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is printed."""
        return (
            self.name,
            self.what,
            self._figure(self.ours),
            self.against,
            self._figure(self.peer),
            self._bound(self.value),
            f"{'>=' if self._at_least else '<='} {self._bound(self.limit)}",
            "pass" if self.passed else "FAIL",
        )

    def as_json(self) -> dict[str, object]:
        """Return the row with its verdict."""
        names = ("name", "what", "against", "kind", "limit", "ours", "peer", "size", "flaw")
        values = {name: getattr(self, name) for name in names}
        return {**values, "value": self.value, "passed": self.passed}

    def _figure(self, value: float | None) -> str:
        if value is None:
            return "-"
        if self.kind == "count":
            return f"{value:.0f}"
        return f"{value / 1e6:.1f} MB" if self.size or self.kind == "memory" else f"{value:.3f} s"

    def _bound(self, value: float | None) -> str:
        if value is None:
            return "-"
        if self.kind == "memory":
            return f"{value / 1e6:.0f} MB"
        if self.kind == "count":
            return f"{value:.0f}"
        return f"{value * 1000:.0f} ms" if self.kind == "difference" else f"{value:.2f}"
