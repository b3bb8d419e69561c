"""What is known of each spawn that is under way: its messages, and whether it has failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Reports", "plain", "reports_of"]

_MOST_EVENTS = 500
_LONGEST = 300


class Reports:
    """The messages of one spawn, for as many readers as there are pages open.

    Lives on the Hub's event loop; nothing here waits for anything but other reports. `expects_job`
    says that the job will report its start, `starting` that it has.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.failure: str | None = None
        self.starting = False
        self.expects_job = False
        self._changed = asyncio.Event()

    def say(self, message: str, *, progress: int | None = None) -> None:
        """Add a message; one that repeats the last is left out. `progress` is out of 100."""
        event: dict[str, Any] = {"message": plain(message)}
        if progress is not None:
            event["progress"] = max(0, min(99, progress))
        if self.events and self.events[-1] == event:
            return
        if len(self.events) >= _MOST_EVENTS:
            self.events.pop()
        self.events.append(event)
        self._wake()

    def fail(self, problem: str) -> None:
        """Say that the job cannot go on; the first reason counts."""
        if self.failure is None:
            self.failure = plain(problem, longest=4 * _LONGEST)
            self._wake()

    def start(self) -> None:
        """Say that the environment is there, and that its server starts."""
        self.starting = True
        self.say("Starting the server", progress=90)
        self._wake()

    async def changed(self, *, seconds: float) -> None:
        """Wait for the next report, for some seconds at most."""
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except (asyncio.TimeoutError, TimeoutError):  # two classes before Python 3.11
            return

    async def follow(self) -> AsyncIterator[dict[str, Any]]:
        """Yield every message from the first on, and never end: the Hub stops asking."""
        seen = 0
        while True:
            while seen < len(self.events):
                yield dict(self.events[seen])
                seen += 1
            await self.changed(seconds=1)
            seen = min(seen, len(self.events))

    def _wake(self) -> None:
        """Wake all who wait now, and none who come later."""
        self._changed.set()
        self._changed = asyncio.Event()


_REPORTS: WeakKeyDictionary[Any, Reports] = WeakKeyDictionary()


def reports_of(spawner: Any, *, anew: bool = False) -> Reports:  # noqa: ANN401 - any spawner
    """Return a spawner's reports; `anew` begins those of another spawn."""
    if anew or spawner not in _REPORTS:
        _REPORTS[spawner] = Reports()
    return _REPORTS[spawner]


def plain(text: str, *, longest: int = _LONGEST) -> str:
    """Return one line without control characters: a job says what it likes."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
