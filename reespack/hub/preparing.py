"""What is set on a spawner so that its job runs a server from an archive."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from reespack.archive.names import SELF_EXTRACTING
from reespack.hub.choice import OPTION
from reespack.hub.reports import reports_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reespack.catalog import Entry

__all__ = ["is_batch", "prepare"]

_LIMITS = {"memory": "mem_limit", "nprocs": "cpu_limit"}
"""What a spawner without a batch system calls them."""

_PROLOGUE = re.compile(r"\{\s*prologue\b")
"""Where a template of batchspawner's has its prologue, in either of the syntaxes it knows."""
_RUN_BEFORE = 'lines=`printf %b "$1"`; shift; eval "$lines"; unset lines; exec "$@"'
_ESCAPES = {ord(letter): f"\\0{ord(letter):03o}" for letter in "\\$'\"\n\r"}
"""As printf's %b reads them (POSIX, printf)."""

_CONFIGURED: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def prepare(spawner: Any, entry: Entry, archive: Path, *, command: Sequence[str]) -> None:  # noqa: ANN401 - any
    """Set what an entry needs, and nothing else; a spawner may be prepared again and again.

    `command` is how a job calls reespack. batchspawner lets `user_options` override every variable
    of a job's script, so what was validated takes their place.
    """
    _restore(spawner)
    spawner.user_options = {OPTION: entry.name}
    server = _server(spawner.cmd)
    launcher = _launcher(archive, command, batch=is_batch(spawner))
    spawner.environment = {**spawner.environment, **dict(entry.variables)}
    if is_batch(spawner):
        prologue = [spawner.req_prologue, entry.prologue]
        spawner.req_prologue = "\n".join(part for part in prologue if part)
        if not _PROLOGUE.search(spawner.batch_script):  # HTCondor's
            launcher = [*_before(spawner.req_prologue, dict(entry.variables)), *launcher]
        spawner.batchspawner_singleuser_cmd = shlex.join(launcher)
        spawner.cmd = server
    else:
        spawner.cmd = [*launcher, *server]
    reports_of(spawner).expects_job = not archive.name.endswith(SELF_EXTRACTING)
    for name, value in entry.resources:
        _set_resource(spawner, name, value)


def _before(prologue: str, variables: Mapping[str, str]) -> list[str]:
    """Return a command that sets variables, runs a prologue and becomes what follows it.

    For a job description that is a line, so that nothing may be in it that has a meaning there:
    neither the end of a line nor HTCondor's `$(MACRO)`.
    """
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines = "\n".join([*exports, *([prologue] if prologue else [])])
    if not lines:
        return []
    return ["/bin/sh", "-ec", _RUN_BEFORE, "sh", lines.translate(_ESCAPES)]


def _launcher(archive: Path, command: Sequence[str], *, batch: bool) -> list[str]:
    """Return what stands before the server's command in a job."""
    if archive.name.endswith(SELF_EXTRACTING):
        port = ["python", "-m", "batchspawner.singleuser"] if batch else []
        return ["/bin/sh", str(archive), *port]
    port = ["--choose-port"] if batch else []
    return [*command, "singleuser", *port, str(archive), "--"]


def _server(cmd: Sequence[str]) -> list[str]:
    """Return the server's command, to be found in the environment and nowhere else."""
    first, *rest = cmd or ["jupyterhub-singleuser"]
    return [PurePath(first).name, *rest]


def _set_resource(spawner: Any, name: str, value: str) -> None:  # noqa: ANN401 - any spawner
    trait = f"req_{name}" if is_batch(spawner) else _LIMITS.get(name, "")
    if spawner.has_trait(trait):
        setattr(spawner, trait, float(value) if trait == "cpu_limit" else value)


def _restore(spawner: Any) -> None:  # noqa: ANN401 - any spawner
    """Put back what the configuration says, lest one spawn's settings stay for the next."""
    names = [name for name in spawner.trait_names() if name.startswith("req_")]
    names += ["cmd", "environment", "batchspawner_singleuser_cmd", *_LIMITS.values()]
    # What is worked out when it is first asked for is not a setting.
    computed = {"req_keepvars", "req_username", "req_homedir"}
    if spawner not in _CONFIGURED:
        _CONFIGURED[spawner] = {
            name: getattr(spawner, name)
            for name in names
            if spawner.has_trait(name) and name not in computed
        }
    for name, value in _CONFIGURED[spawner].items():
        setattr(spawner, name, value)


def is_batch(spawner: Any) -> bool:  # noqa: ANN401 - any spawner
    """Return whether a spawner is batchspawner's: its servers run in a batch system's jobs."""
    return bool(spawner.has_trait("batchspawner_singleuser_cmd"))
