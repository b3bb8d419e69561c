"""What other batch systems would be given: the scripts that batchspawner renders for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import batchspawner
import pytest
from traitlets.config import Config

import reespack.hub
from reespack.catalog import parse_catalog
from reespack.hub.preparing import prepare
from reespack.hub.spawning import Reporting, with_reports

COMMAND = ("/opt/reespack/bin/python", "-m", "reespack")
JOB = (
    "/opt/reespack/bin/python -m reespack singleuser --choose-port '/envs/sea ice.tar.zst'"
    " -- jupyterhub-singleuser"
)
CATALOG = """\
format: 1
environments:
  ice:
    archive: /envs/sea ice.tar.zst
    resources: {nprocs: 4, memory: 8gb, runtime: "2:00:00", queue: short, host: login}
    variables: {DATA: /data}
    prologue: module load ice
"""


def _spawner(base: type) -> Any:  # noqa: ANN401 - whatever `base` is
    spawner = with_reports(base)(
        user=SimpleNamespace(name="ada", url="/user/ada", escaped_name="ada", groups=[]),
        req_homedir="/home/ada",
        req_keepvars="PATH,DATA",
        user_options={"queue": "everything", "prologue": "rm -rf ~"},
    )
    spawner.get_args = list
    entry = parse_catalog(CATALOG, path=Path("/envs/catalog.yml")).entries[0]
    prepare(spawner, entry, Path("/envs/sea ice.tar.zst"), command=COMMAND)
    return spawner


def _script(base: type) -> str:
    spawner = _spawner(base)
    variables = {**spawner.get_req_subvars(), "cmd": spawner.cmd_formatted_for_batch()}
    variables.update(spawner.user_options)  # as submit_batch_script does
    return str(asyncio.run(spawner._get_batch_script(**variables)))  # noqa: SLF001 - its own tests do


@pytest.mark.parametrize(
    ("base", "lines"),
    [
        (
            batchspawner.SlurmSpawner,
            ("#SBATCH --cpus-per-task=4", "#SBATCH --mem=8gb", "#SBATCH --time=2:00:00"),
        ),
        (
            batchspawner.TorqueSpawner,
            ("#PBS -q short@login", "#PBS -l nodes=1:ppn=4", "#PBS -l mem=8gb"),
        ),
        (
            batchspawner.PBSSpawner,
            ("#PBS -q short@login", "#PBS -l select=1:ncpus=4:mem=8gb", "#PBS -l walltime=2:00:00"),
        ),
        (batchspawner.LsfSpawner, ("#BSUB -q short",)),
    ],
)
def test_a_script_runs_the_archive(base: type, lines: tuple[str, ...]) -> None:
    script = _script(base).splitlines()
    for line in lines:
        assert line in script
    assert "everything" not in "\n".join(script)
    assert script.index("module load ice") < next(
        number for number, line in enumerate(script) if line.endswith(JOB)
    )


def test_condor_quotes_what_a_shell_will_read() -> None:
    script = _script(batchspawner.CondorSpawner)
    quoted = JOB.replace("'", "''")
    assert f"Arguments = \"-c 'exec {quoted}'\"" in script
    assert "RequestCpus = 4" in script


def test_configure_wraps_whatever_spawner_is_named(tmp_path: Path) -> None:
    ran = []
    c = Config()
    c.JupyterHub.spawner_class = "simple"  # an entry point of JupyterHub's
    c.Spawner.pre_spawn_hook = ran.append
    site = reespack.hub.configure(c, catalog=tmp_path / "missing.yml", poll=3600)
    assert issubclass(c.JupyterHub.spawner_class, Reporting)
    assert c.JupyterHub.spawner_class.__name__ == "SimpleLocalProcessSpawner"
    assert site.before == ran.append
    assert c.Spawner.start_timeout == 600
    assert site.catalog.problem


def test_the_guard_takes_batchspawners_place() -> None:
    from jupyterhub import apihandlers

    reespack.hub.register()
    reespack.hub.register()
    routes = [path for path, _ in apihandlers.default_handlers]
    assert routes.count("/api/batchspawner") == 1
    handler = dict(apihandlers.default_handlers)["/api/batchspawner"]
    assert handler.__module__ == "reespack.hub.api"
