"""What runs a command in an environment, wherever it lies: `share/reespack/exec` and its parts.

conda's own activation needs conda. Here its variables are rendered at build time into
`share/reespack/variables.sh`, since a shell cannot read the JSON files that they stand in:
`etc/conda/env_vars.d/*.json`, then `conda-meta/state`, as conda does in `activate.py`
(`_get_environment_env_vars`), then those of environment.yml. activate.d scripts are found when
the command starts.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from reespack.errors import InstallError
from reespack.kernelspec.scripts import read_script, replace_file, shell_text

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import EnvironmentSpec, Repository

__all__ = ["SHARE", "environment_variables", "write_activation"]

SHARE = "share/reespack"
"""reespack's own folder in an environment."""

_UNSET = "***unset***"
"""What conda writes for a variable that is to be unset (CONDA_ENV_VARS_UNSET_VAR)."""

_HEADER = "# The environment's variables; $CONDA_PREFIX is where it lies. Made by reespack.\n"


def write_activation(prefix: Path, spec: EnvironmentSpec, *, repository: Repository) -> None:
    """Write `exec`, `variables.sh` and the repository's `start` below share/reespack."""
    share = prefix / SHARE
    share.mkdir(parents=True, exist_ok=True)
    replace_file(share / "exec", read_script("exec.sh"), executable=True)
    variables = {**environment_variables(prefix), **dict(spec.variables)}
    replace_file(share / "variables.sh", _render(variables, prefix))
    start = share / "start"
    if spec.start is not None:
        content = repository.read_bytes(spec.start)
        if content.partition(b"\n")[0].endswith(b"\r"):
            # `#!/bin/bash\r` names no program; the author's editor meant no harm.
            content = content.replace(b"\r\n", b"\n")
        replace_file(start, content, executable=True)
    else:
        start.unlink(missing_ok=True)


def environment_variables(prefix: Path) -> dict[str, str]:
    """Return the variables that conda would set on activation; InstallError on broken JSON."""
    variables: dict[str, str] = {}
    for file in sorted(prefix.glob("etc/conda/env_vars.d/*.json")):
        variables.update(_variables_of(_read(file, prefix)))
    state = prefix / "conda-meta" / "state"
    if state.is_file():
        variables.update(_variables_of(_read(state, prefix).get("env_vars", {})))
    return variables


def _read(file: Path, prefix: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InstallError(f"{file.relative_to(prefix)} cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}


def _variables_of(content: dict[str, Any]) -> dict[str, str]:
    """Return name and value of each; a shell can set no other names than these."""
    valid = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
    return {name: str(value) for name, value in content.items() if valid.fullmatch(name)}


def _render(variables: dict[str, str], prefix: Path) -> str:
    lines = [_HEADER]
    for name, value in variables.items():
        if value == _UNSET:
            lines.append(f"unset {name}\n")
        else:
            text = shell_text(value, prefix=str(prefix), variable="CONDA_PREFIX")
            lines.append(f"export {name}={text}\n")
    return "".join(lines)
