"""What an experiment is: contenders that take turns, and the claims that this settles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.ground import Ground
from benchmarks.harness import Contender, FailedRunError, compete
from benchmarks.row import Kind, Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.harness import Samples

__all__ = ["Check", "Claim", "Experiment", "Makers"]

Check = Callable[[Ground], str | None]
Makers = dict[str, Callable[[], Contender]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One row of the table before it is measured; `ours` and `peer` name contenders.

    With `cpu`, processor time counts, of the command and all it has started; `peer_times` says how
    often the peer would have to run. `check` returns what else is wrong, or None.
    """

    name: str
    what: str
    against: str
    kind: Kind
    limit: float
    ours: str
    peer: str | None = None
    size: bool = False
    cpu: bool = False
    peer_times: int = 1
    check: Check | None = None

    @property
    def contenders(self) -> tuple[str, ...]:
        """Return who must have run."""
        return (self.ours, self.peer) if self.peer else (self.ours,)

    def row(self, samples: Mapping[str, Samples], flaw: str | None = None) -> Row:
        """Return the row, from what was measured."""
        return Row(
            name=self.name,
            what=self.what,
            against=self.against,
            kind=self.kind,
            limit=self.limit,
            ours=self._figure(samples.get(self.ours)),
            peer=self._peer_figure(samples),
            size=self.size,
            flaw=flaw,
        )

    def _peer_figure(self, samples: Mapping[str, Samples]) -> float | None:
        figure = self._figure(samples.get(self.peer)) if self.peer else None
        return None if figure is None else figure * self.peer_times

    def _figure(self, samples: Samples | None) -> float | None:
        if samples is None:
            return None
        if self.kind == "memory":
            return samples.memory
        if self.kind == "count":
            return samples.count
        if self.cpu:
            return samples.cpu
        return samples.size if self.size else samples.wall


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Contenders that take turns, and the claims about them.

    `contenders` says how each is made, which happens only when a claim needs it.

    `times` multiplies the number of runs, for what is short and noisy; `most` bounds it. What only
    counts needs no `warm_up`.
    """

    name: str
    claims: tuple[Claim, ...]
    contenders: Callable[[Ground], Makers]
    times: int = 1
    most: int | None = None
    warm_up: bool = True

    def conduct(
        self, claims: Sequence[Claim], ground: Ground, *, runs: int, say: Callable[[str], None]
    ) -> tuple[list[Row], dict[str, Samples]]:
        """Measure what `claims` need; a run that fails makes them fail, and nothing else."""
        say(f"{self.name}")
        wanted = {name for claim in claims for name in claim.contenders}
        try:
            contenders = {
                name: make() for name, make in self.contenders(ground).items() if name in wanted
            }
            count = min(runs * self.times, self.most or runs * self.times)
            samples = compete(contenders, runs=count, log=ground.log, say=say, warm_up=self.warm_up)
            flaws = [claim.check(ground) if claim.check else None for claim in claims]
        except FailedRunError as error:
            say(str(error))
            first = str(error).partition("\n")[0]
            return [claim.row({}, f"not measured: {first}") for claim in claims], {}
        rows = [claim.row(samples, flaw) for claim, flaw in zip(claims, flaws, strict=True)]
        return rows, samples
