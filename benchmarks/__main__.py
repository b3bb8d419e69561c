"""`python -m benchmarks`: measure, print the table, keep the runs. Exit code 1 when a row fails."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.experiments import all_experiments
from benchmarks.ground import TOP, Ground
from benchmarks.report import machine, table, write_results

if TYPE_CHECKING:
    from benchmarks.harness import Samples
    from benchmarks.row import Row

FEWEST = 5


def main() -> int:
    """Measure what was asked for; return the exit code."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun is ended
    pattern = re.compile(given.rows)
    experiments = all_experiments()
    if given.list:
        print("\n".join(claim.name for each in experiments for claim in each.claims))
        return 0
    folder = Path(os.environ.get("REESPACK_BENCH_FOLDER", TOP / ".cache" / "bench")).absolute()
    chosen = [claim.name for each in experiments for claim in each.claims]
    needed = _room_for([name for name in chosen if pattern.search(name)])
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < needed:
        _say(f"{needed >> 30} GB are needed in {folder}, and there are {free >> 30}")
        _say("make room, name another folder in REESPACK_BENCH_FOLDER, or choose other --rows")
        return 2
    ground = Ground(folder, say=_say)
    rows: list[Row] = []
    samples: dict[str, dict[str, Samples]] = {}
    try:
        for experiment in experiments:
            claims = [claim for claim in experiment.claims if pattern.search(claim.name)]
            if claims:
                found, runs = experiment.conduct(claims, ground, runs=given.runs, say=_say)
                rows += found
                samples[experiment.name] = runs
        environments = ground.describe()
    finally:
        ground.close()
        if not given.keep:
            ground.clean()
    if not rows:
        _say(f"no row is called {given.rows}; --list shows them all")
        return 2
    host = machine(folder)
    print(f"{host['cpu']}, {host['cores']} cores, {host['file system']}; {given.runs} runs")
    for name, facts in environments.items():
        print(
            f"{name}: {facts['conda packages']} conda packages, {facts['files']:,} files, "
            f"{facts['bytes'] / 1e6:.0f} MB"
        )
    if given.runs < FEWEST:
        print(f"fewer than {FEWEST} runs: good for a look, not for a claim")
    print()
    print(table(rows))
    about = {"machine": host, "environments": environments, "runs": given.runs}
    target = write_results(rows, samples, about=about)
    print(f"every run is in {os.path.relpath(target)}")
    return 0 if all(row.passed for row in rows) else 1


def _room_for(rows: list[str]) -> int:
    """Return how many bytes the rows take at most; folders stay until an experiment is over."""
    return (60 if any("large" in row for row in rows) else 30) << 30


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", metavar="REGEX", default="", help="only rows so called")
    parser.add_argument("--runs", metavar="N", type=int, default=FEWEST, help="at least five")
    parser.add_argument("--list", action="store_true", help="print the rows' names and end")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder for a look")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
