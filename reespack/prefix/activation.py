"""The variables of an activated environment, free of what the caller's own shell has set up."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from reespack.errors import InstallError
from reespack.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["activated", "neutral"]

_FOREIGN = (
    # Other Pythons and environments: conda's own activation would stack on them.
    "CONDA_",
    "MAMBA_",
    "PIXI_",
    "PYENV_",
    "_CE_",
    # Where Jupyter and IPython keep what belongs to the caller, not to the environment.
    "JUPYTER_",
    "IPYTHON",
)
_FOREIGN_NAMES = frozenset({
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONNOUSERSITE",
    "PYTHONPLATLIBDIR", "PYTHONSAFEPATH", "PYTHONEXECUTABLE", "PYTHONINSPECT", "PYTHONOPTIMIZE",
    "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT",
    "UV_SYSTEM_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_REQUIRE_HASHES", "UV_COMPILE_BYTECODE",
    # What narrows a choice was heard when the lock was made.
    "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE",
    "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_REQUIRE_VIRTUALENV",
    "PIP_DRY_RUN", "PIP_COMPILE",
    "R_HOME", "R_LIBS", "R_LIBS_USER", "R_LIBS_SITE", "JULIA_PROJECT", "JULIA_DEPOT_PATH",
    "BASH_ENV", "ENV",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
    "MPLCONFIGDIR",
})  # fmt: skip


def neutral(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what would make a program look outside of the environment."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _FOREIGN_NAMES and not name.startswith(_FOREIGN)
    }


def activated(prefix: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables after an activation of `prefix` that starts from `environ`.

    The scripts of activate.d and the variables of conda-meta/state and env_vars.d take effect, as
    rattler renders them. Raises InstallError when a script fails.
    """
    from rattler.shell import ActivationVariables, Shell, activate

    path = environ.get("PATH") or os.defpath
    variables = ActivationVariables(current_prefix=None, current_path=path.split(os.pathsep))
    script = activate(prefix, variables, Shell.bash).script
    bash = shutil.which("bash", path=path) or shutil.which("sh", path=os.defpath)
    if bash is None:
        raise InstallError("there is no shell (bash or sh) to activate the environment with")
    env = shutil.which("env", path=os.defpath) or "/usr/bin/env"
    # Whatever the scripts print must not be taken for variables.
    command = f"{{\n{script}\n}} >&2\n{env} -0"
    done = run([bash, "-c", command], env=environ, capture_stdout=True)
    if not done.ok:
        raise InstallError(
            f"the activation of the environment {done.ending}",
            hint="look at the scripts in etc/conda/activate.d",
            detail="\n".join(done.tail),
        )
    pairs = (item.partition("=") for item in done.stdout.split("\0") if item)
    result = {name: value for name, _, value in pairs if name not in {"_", "SHLVL", "PWD"}}
    # rattler's script puts the old PATH behind itself once more.
    result["PATH"] = os.pathsep.join(dict.fromkeys(result["PATH"].split(os.pathsep)))
    return {**result, "CONDA_DEFAULT_ENV": str(prefix), "CONDA_PREFIX": str(prefix)}
