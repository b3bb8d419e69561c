"""Rows for a JupyterHub: from the request that spawns a server to a kernel's first reply in it."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.experiment import Claim, Experiment
from benchmarks.ground import PROGRAMS, SERVER
from benchmarks.harness import Task

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.experiment import Makers
    from benchmarks.ground import Ground
    from benchmarks.harness import Contender

__all__ = ["hub"]

_CATALOG = """\
format: 1
environments:
  first:
    archive: {archive}
    variables: {{REESPACK_STORE: "{first}"}}
  later:
    archive: {archive}
    variables: {{REESPACK_STORE: "{later}"}}
"""
_NAIVE = """\
#!/bin/sh
mkdir {target} && tar -I zstd -xf {archive} -C {target} && {target}/bin/conda-unpack || exit
exec {target}/bin/jupyterhub-singleuser "$@"
"""


def hub() -> tuple[Experiment, ...]:
    """Return the experiments with two Hubs: reespack's, and one that knows nothing of it."""
    first = Claim(
        name="hub-first", what="spawn to kernel's reply, first",
        against="tar -xf && conda-unpack && server", kind="ratio", limit=1,
        ours="reespack, first", peer="naive",
    )  # fmt: skip
    later = Claim(
        name="hub-later", what="spawn to kernel's reply, later",
        against="the same server without it", kind="difference", limit=0.100,
        ours="reespack, later", peer="plain",
    )  # fmt: skip
    return (
        Experiment(name="hub, first", claims=(first,), contenders=_contenders),
        Experiment(name="hub, later", claims=(later,), contenders=_contenders, times=5),
    )


@cache
def _contenders(ground: Ground) -> Makers:
    folder = ground.work / "hub"
    folder.mkdir()
    archive = ground.archive(SERVER)
    first, later = folder / "first", folder / "later"
    catalog = folder / "catalog.yml"
    catalog.write_text(_CATALOG.format(archive=archive, first=first, later=later))
    ground.run(ground.program("reespack"), "stage", archive, environ={"REESPACK_STORE": str(later)})
    (environment,) = (path for path in later.iterdir() if not path.name.startswith("."))
    installed = ground.installed()
    python = installed / "venv" / "bin" / "python"
    hubs = json.loads(ground.start(python, PROGRAMS / "hubs.py", folder, installed, catalog))

    def spawn(side: str, options: dict[str, object], *leftovers: Path) -> Task:
        words = (python, PROGRAMS / "hub_first_reply.py", *hubs[side], json.dumps(options))
        return Task(command=words, inputs=(archive, environment), reports=True, leftovers=leftovers)

    def into_an_empty_store(turn: int) -> Task:
        used = folder / f"used-{turn}"
        if first.exists():  # by the run before
            first.rename(used)
        return spawn("reespack", {"environment": "first"}, used)

    def naive(turn: int) -> Task:
        target, script = folder / f"naive-{turn}", folder / f"naive-{turn}.sh"
        script.write_text(_NAIVE.format(archive=archive, target=target))
        return spawn("plain", {"cmd": ["/bin/sh", str(script)]}, target, script)

    def always(side: str, options: dict[str, object]) -> Contender:
        return lambda _turn: spawn(side, options)

    server = str(environment / "bin" / "jupyterhub-singleuser")
    return {
        "reespack, first": lambda: into_an_empty_store,
        "naive": lambda: naive,
        "reespack, later": lambda: always("reespack", {"environment": "later"}),
        "plain": lambda: always("plain", {"cmd": [server]}),
    }
