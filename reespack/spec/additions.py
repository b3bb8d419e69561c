"""What an environment gets without a file asking for it: Python, pip, a kernel, a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reespack.languages import choose_version
from reespack.model import ADDED, CondaRequirement, LanguageVersion, PipRequirement

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Requests", "with_additions"]

_SERVER_CONDA = ("jupyterlab", "jupyterhub-singleuser")
_SERVER_PIP = ("jupyterlab", "jupyterhub")
_SAME = {"jupyterhub-singleuser": "jupyterhub"}
"""conda-forge splits jupyterhub; whoever asks for all of it has the part as well."""


class Requests(NamedTuple):
    """The two halves of an environment."""

    conda: tuple[CondaRequirement, ...]
    pip: tuple[PipRequirement, ...]

    @property
    def names(self) -> set[str]:
        """The packages that are asked for."""
        return {one.name for one in self.conda} | {one.name for one in self.pip if one.name}

    def with_conda(self, *specs: str) -> Requests:
        """Return this and conda packages that no file asks for."""
        added = (
            CondaRequirement(spec=spec, name=spec.split("=", 1)[0], origin=ADDED) for spec in specs
        )
        return self._replace(conda=(*self.conda, *added))

    def with_pip(self, *names: str) -> Requests:
        """Return this and distributions that no file asks for."""
        added = (PipRequirement(text=name, name=name, origin=ADDED) for name in names)
        return self._replace(pip=(*self.pip, *added))


def with_additions(
    asked: Requests,
    versions: Sequence[LanguageVersion],
    *,
    languages: Sequence[str],
    default_python: str,
    server: bool,
) -> Requests:
    """Return the requests, completed to an environment that Jupyter can use.

    Where pip's half is all that the files ask for, everything but Python and pip comes from the
    package index, so that the pins of a requirements.txt hold for what the kernel needs as well;
    else it comes from the channels.
    """
    if "python" not in languages:
        return asked
    pip_only = bool(asked.pip) and not asked.conda
    wanted = ["ipykernel", *((_SERVER_PIP if pip_only else _SERVER_CONDA) if server else ())]
    present = asked.names
    missing = [name for name in wanted if not present & {name, _SAME.get(name, name)}]
    done = _with_python(asked, versions, default_python)
    if "pip" not in {one.name for one in done.conda}:
        done = done.with_conda(
            "pip"
        )  # conda gives every Python its pip, and postBuild scripts use it
    return done.with_pip(*missing) if pip_only else done.with_conda(*missing)


def _with_python(asked: Requests, versions: Sequence[LanguageVersion], default: str) -> Requests:
    """Return the requests with the version that counts, or the default where nobody asks."""
    chosen = choose_version("python", asked.conda, versions).chosen
    if chosen is None:
        return asked.with_conda(f"python={default}")
    if isinstance(chosen, LanguageVersion):
        spec = f"{chosen.language} {chosen.version}"
        added = CondaRequirement(spec=spec, name=chosen.language, origin=chosen.origin)
        return asked._replace(conda=(*asked.conda, added))
    return asked
