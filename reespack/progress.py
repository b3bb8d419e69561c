"""How the phases tell what they are doing, without knowing who listens.

The command line draws bars, a log writes lines, a test collects; the phases only call this.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["QUIET", "Advance", "Progress", "Quiet"]

Unit = Literal["bytes", "items"]


class Advance(Protocol):
    """Moves a task on by `amount`; `total` sets or corrects the task's size."""

    def __call__(self, amount: int, /, *, total: int | None = None) -> None:
        """Move on."""


class Progress(Protocol):
    """A listener. Every call returns at once."""

    def step(self, message: str) -> None:
        """A phase begins or something took place that deserves a line."""

    def detail(self, message: str) -> None:
        """Something that only a verbose run shows."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Something that the user should know."""

    def output(self, line: str) -> None:
        """A line that a program of the user's (postBuild) printed."""

    def task(
        self, label: str, *, total: int | None = None, unit: Unit = "items"
    ) -> AbstractContextManager[Advance]:
        """Something of some length; without `total`, of unknown length."""


class Quiet:
    """A listener that says nothing."""

    def step(self, message: str) -> None:
        """Say nothing."""

    def detail(self, message: str) -> None:
        """Say nothing."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Say nothing."""

    def output(self, line: str) -> None:
        """Say nothing."""

    @contextmanager
    def task(
        self,
        label: str,  # noqa: ARG002 - nobody is told
        *,
        total: int | None = None,  # noqa: ARG002 - nobody is told
        unit: Unit = "items",  # noqa: ARG002 - nobody is told
    ) -> Iterator[Advance]:
        """Say nothing, and take what advances."""
        yield _stand_still


def _stand_still(amount: int, /, *, total: int | None = None) -> None:
    """Take an advance without showing it."""


QUIET: Progress = Quiet()
