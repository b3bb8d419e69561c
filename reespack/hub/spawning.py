"""A spawner that shows how far its job is, and fails as soon as its job has failed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from reespack.hub.preparing import is_batch
from reespack.hub.refusal import LOG, refusal
from reespack.hub.reports import reports_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Reporting", "with_reports"]

_WAITING = "Waiting for a node"
_GLANCE = 0.5
"""Seconds between two glances at what the spawner last heard of the batch system."""
_INSIST_AFTER = 0.2
"""Seconds after which a task that has not ended is cancelled again."""
_GONE_AFTER = 2
"""How often in a row the batch system must not know a job before it counts as gone."""


class Reporting:
    """Stands before a spawner class: progress for its pending page, and an end of waiting."""

    reespack_watch_interval = 2.0
    """Seconds between two questions whether a job that has not answered yet is still there."""
    _reespack_told = ""

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the hook, the batch system and the job say, as it comes."""
        async for event in reports_of(self).follow():
            yield event

    async def start(self) -> Any:  # noqa: ANN401 - each spawner's own
        """Start the server as the spawner does, but wait no longer than there is hope.

        batchspawner 1.3.0 waits for the port of a job that is dead until `start_timeout` is over.
        """
        self._reespack_told = ""
        if is_batch(self):
            reports_of(self).say(_WAITING, progress=10)
        started = asyncio.ensure_future(self._reespack_started())
        failure = asyncio.ensure_future(self._reespack_failure())
        try:
            await asyncio.wait({started, failure}, return_when=asyncio.FIRST_COMPLETED)
            return started.result() if started.done() else failure.result()
        finally:
            await _end(started, failure)

    async def _reespack_started(self) -> Any:  # noqa: ANN401 - each spawner's own
        place = await super().start()  # type: ignore[misc] # the spawner's
        if not is_batch(self) and reports_of(self).expects_job:
            # A local process answers only after it has unpacked, and http_timeout is short.
            while not reports_of(self).starting:
                await reports_of(self).changed(seconds=1)
        return place

    async def _reespack_failure(self) -> None:
        """Return never; raise what the user is told when the job has failed or is gone."""
        reports = reports_of(self)
        missing = 0
        asked = time.monotonic()
        while True:
            await reports.changed(seconds=_GLANCE)
            if reports.failure:
                raise refusal(reports.failure, reason="job", status=500)
            if not is_batch(self):
                continue
            self._reespack_say_state()
            if time.monotonic() - asked >= self.reespack_watch_interval:
                missing = missing + 1 if await self._reespack_is_gone() else 0
                asked = time.monotonic()
            if missing >= _GONE_AFTER:
                raise self._reespack_gone()

    def _reespack_say_state(self) -> None:
        spawner: Any = self
        reports = reports_of(self)
        if not spawner.job_status or reports.starting or spawner.job_status == self._reespack_told:
            return
        self._reespack_told = spawner.job_status
        if spawner.state_ispending():
            reports.say(_WAITING, progress=10)
        elif spawner.state_isrunning():
            reports.say("The job has its node", progress=15)

    async def _reespack_is_gone(self) -> bool:
        spawner: Any = self
        if not spawner.job_id or spawner.port:
            return False
        job = spawner.job_id
        # To be cancelled would end the question, and leave its error as what the job's status is.
        status = await asyncio.shield(spawner.query_job_status())
        return bool(status.name == "NOTFOUND" and job == spawner.job_id)

    def _reespack_gone(self) -> Exception:
        spawner: Any = self
        LOG.error(
            "%s: job %s ended before its server answered; the batch system says: %r",
            spawner._log_name,  # noqa: SLF001 - the Hub's own name for it in its log
            spawner.job_id,
            spawner.job_status,
        )
        return refusal(
            "The job ended before its server answered.",
            hint="Its output, as a rule a file in your home folder, says why. Try again, or ask"
            f" your site's help desk about job {spawner.job_id}.",
            reason="job",
            status=500,
        )


async def _end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks until they are over: batchspawner 1.3.0 swallows CancelledError in a command."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_INSIST_AFTER)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # or asyncio warns that nobody has looked at it


def with_reports(base: type) -> type:
    """Return `base` with Reporting before it; its name and all its settings stay."""
    if issubclass(base, Reporting):
        return base
    return type(base.__name__, (Reporting, base), {"__module__": __name__, "__doc__": base.__doc__})
