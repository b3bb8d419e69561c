"""Where a run of the cluster tests keeps its things, and what it builds."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NUMPY", "PACKAGES", "Lab", "build_options", "run"]

NUMPY = {"alpha": "2.2.6", "beta": "2.1.3"}  # both are there for Python 3.10 to 3.13
PACKAGES = ("ipykernel", "jupyterhub", "jupyterlab", "pip", "setuptools")


@dataclass(frozen=True)
class Lab:
    """Where everything is: `given` came from the set-up and is kept, `folder` is this run's."""

    given: Path
    folder: Path
    builder: str
    people: tuple[str, ...]
    password: str
    admin_password: str
    environ: dict[str, str]

    @property
    def reespack(self) -> tuple[str, ...]:
        return (str(self.given / "venv" / "bin" / "python"), "-m", "reespack")

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.yml"

    @property
    def stores(self) -> Path:
        return self.folder / "stores"


def build_options(channel: Path) -> tuple[str, ...]:
    """Return how builds find the channel, and the Python that is in it."""
    version = next((channel / "linux-64").glob("python-3*.conda")).name.split("-")[1]
    python = ".".join(version.split(".")[:2])
    return ("--channel-alias", f"conda-forge={channel}", "--default-python", python)


def run(*command: str, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
