"""What other batch systems would be given: the scripts that batchspawner renders for them."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import batchspawner
import pytest
from traitlets.config import Config

import reespack.hub
from reespack.catalog import parse_catalog
from reespack.hub.preparing import prepare
from reespack.hub.reports import reports_of
from reespack.hub.spawning import Reporting, with_reports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.catalog import Entry

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


def _spawner(base: type, entry: Entry | None, command: Sequence[str]) -> Any:  # noqa: ANN401 - `base`
    spawner = with_reports(base)(
        user=SimpleNamespace(name="ada", url="/user/ada", escaped_name="ada", groups=[]),
        req_homedir="/home/ada",
        req_keepvars="PATH,DATA",
        user_options={"queue": "everything", "prologue": "rm -rf ~"},
    )
    spawner.get_args = list
    entry = entry or parse_catalog(CATALOG, path=Path("/envs/catalog.yml")).entries[0]
    prepare(spawner, entry, Path("/envs/sea ice.tar.zst"), command=command)
    return spawner


def _script(base: type, *, entry: Entry | None = None, command: Sequence[str] = COMMAND) -> str:
    spawner = _spawner(base, entry, command)
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


PROLOGUE = """\
# two lines, with what shells and HTCondor find a meaning in
if true; then MODULE="$(echo 'sea ice')"; export MODULE; fi
export PRICE='5 $ \\ %'"""


def test_condor_runs_what_its_template_has_no_place_for(tmp_path: Path) -> None:
    entry = parse_catalog(CATALOG, path=Path("/envs/catalog.yml")).entries[0]
    tool = tmp_path / "reespack"
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "$DATA" "$MODULE" "$PRICE" "${lines-unset}"\n')
    tool.chmod(0o755)
    script = _script(
        batchspawner.CondorSpawner,
        entry=replace(entry, prologue=PROLOGUE),
        command=(str(tool),),
    )
    assert "RequestCpus = 4" in script
    (line,) = (line for line in script.splitlines() if line.startswith("Arguments"))
    assert "$(" not in line
    (quoted,) = re.fullmatch(r'Arguments = "(.*)"', line).groups()  # type: ignore[union-attr]
    words = _condor_words(quoted)
    assert words[0] == "-c"
    ran = subprocess.run(["/bin/sh", *words], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        *("singleuser", "--choose-port", "/envs/sea ice.tar.zst", "--", "jupyterhub-singleuser"),
        *("/data", "sea ice", "5 $ \\ %", "unset"),
    ]


def _condor_words(text: str) -> list[str]:
    """Read arguments as condor_submit's manual says: '' and "" are quotes, '...' is one word."""
    text = text.replace('""', '"')
    found = re.findall(r"(?:'(?:[^']|'')*'|[^\s'])+", text)
    return [re.sub(r"'((?:[^']|'')*)'", lambda m: m[1].replace("''", "'"), one) for one in found]


def test_systemd_would_start_the_archives_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from systemdspawner import systemd

    programs = {
        "systemd-run": f'printf "%s\\n" "$@" >{tmp_path}/asked',
        "systemctl": f"""case $1 in
            --version) echo "systemd 252" ;;
            is-active) test -e {tmp_path}/asked ;;
            *) false ;;
        esac""",
    }
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(systemd, "RUN_ROOT", str(tmp_path / "run"))
    archive, catalog = tmp_path / "sea ice.tar.zst", tmp_path / "catalog.yml"
    archive.touch()
    text = CATALOG.replace("/envs/sea ice.tar.zst", str(archive)).replace("8gb", "8G")
    catalog.write_text(text)

    async def run() -> None:
        c = Config()
        c.JupyterHub.spawner_class = "systemd"
        reespack.hub.configure(c, catalog=catalog, reespack_command=COMMAND, poll=3600)
        account = pwd.getpwuid(os.getuid()).pw_name
        user = SimpleNamespace(name=account, id=1, url="/", escaped_name=account, groups=[])
        hub = SimpleNamespace(public_host="")
        spawner = c.JupyterHub.spawner_class(config=c, user=user, hub=hub)
        spawner.user_options = {"environment": "ice"}
        spawner.get_args = list
        spawner.get_env = lambda: dict(spawner.environment)
        await spawner.run_pre_spawn_hook()
        reports_of(spawner).start()  # as the job would say
        await spawner.start()

    asyncio.run(run())
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "--property=MemoryMax=8589934592" in asked
    assert "--property=CPUQuota=400%" in asked
    command = [*COMMAND, "singleuser", str(archive), "--", "jupyterhub-singleuser"]
    assert asked[-len(command) :] == command
    (variables,) = (tmp_path / "run").rglob("*.env")
    assert "DATA=/data\n" in variables.read_text()


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
