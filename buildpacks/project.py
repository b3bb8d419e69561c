"""An installable project: the repository is a Python package itself."""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING

from buildpacks.malformed import at
from buildpacks.python_versions import conda_version
from buildpacks.toml_source import TomlFile, read_toml
from reespack.buildpack import API, PACKAGES, Claim, Contribution, Evidence
from reespack.model import LanguageVersion, PipRequirement, Verdict

if TYPE_CHECKING:
    from reespack.model import Origin, Repository, Target

__all__ = ["Project"]

_RANK = 10
_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


class Project:
    """setup.py, or a pyproject.toml with `[project]`; in the root, without a binder folder."""

    id = "project"
    api = API
    files: tuple[str, ...] = _FILES
    slot: str | None = PACKAGES
    rank = 20

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a pyproject.toml or setup.py, and no binder folder."""
        if repository.config_folder:
            return None
        present = [name for name in _FILES if repository.is_file(name)]
        if not present:
            return None
        installable = "setup.py" in present or (
            "pyproject.toml" in present
            and "project" in read_toml(repository, "pyproject.toml").data
        )
        if installable:
            return Evidence(
                claims=tuple(
                    Claim(path=name, reason="the project itself is installed") for name in present
                )
            )
        missing = {
            "pyproject.toml": "has no [project] table, so that it is no installable project",
            "setup.cfg": "counts beside a setup.py or a pyproject.toml with [project] only",
        }
        return Evidence(
            claims=tuple(
                Claim(path=name, verdict=Verdict.IGNORED, reason=missing[name]) for name in present
            )
        )

    def contribute(
        self, repository: Repository, evidence: Evidence, target: Target
    ) -> Contribution:
        """Ask for the project, and for a Python that it says it runs with."""
        names = [claim.path for claim in evidence.claims]
        name: str | None = None
        wanted: tuple[str, Origin] | None = None
        origin = at(names[0])
        if "pyproject.toml" in names:
            toml = read_toml(repository, "pyproject.toml")
            project = toml.table("project")
            if project:
                origin = toml.place("project")
                name = _text(project.get("name"))
                wanted = _requires_python(toml)
        if wanted is None and "setup.py" in names:
            origin = at("setup.py") if name is None else origin
            wanted = _python_requires(repository)
        from packaging.utils import canonicalize_name

        requirement = PipRequirement(
            text=".", path=".", name=canonicalize_name(name) if name else None, origin=origin
        )
        versions: tuple[LanguageVersion, ...] = ()
        if wanted is not None:
            version = conda_version(*wanted, default=target.default_python)
            versions = (
                LanguageVersion(language="python", version=version, origin=wanted[1], rank=_RANK),
            )
        return Contribution(pip=(requirement,), language_versions=versions, languages=("python",))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _requires_python(toml: TomlFile) -> tuple[str, Origin] | None:
    specifier = _text(toml.table("project").get("requires-python"))
    return (specifier, toml.place("project", "requires-python")) if specifier else None


def _python_requires(repository: Repository) -> tuple[str, Origin] | None:
    """Return setup.py's python_requires where it is a literal, without running the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd in their code is not ours to report
            tree = ast.parse(repository.read_bytes("setup.py"))
    except (SyntaxError, ValueError):
        return None  # perhaps for another Python; building it will tell
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "python_requires":
            value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value, at("setup.py", value.lineno)
    return None
