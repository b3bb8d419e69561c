"""Projects of the repository that are asked for: their metadata, made without touching them."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

from reespack import toml
from reespack.errors import LockError
from reespack.working_copy import copy_repository, folder_in_copy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reespack.model import PipRequirement, Repository

__all__ = ["place_to_build", "static_version"]


def place_to_build(
    requirements: Sequence[PipRequirement], repository: Repository, scratch: Path
) -> Path:
    """Return the root that paths of requirements are relative to while uv looks at them.

    A project that says its version and dependencies only when it is built is built in a copy of
    the checkout (.git too: versions come from tags): setuptools writes into the source tree.
    Raises LockError when the copy cannot be made.
    """
    folders = [repository.root / r.path for r in requirements if r.path is not None]
    if not any(folder.is_dir() and not _is_static(folder) for folder in folders):
        return repository.root
    copy = scratch / "checkout"
    try:
        if not copy.exists():
            copy_repository(repository, copy)
    except (OSError, shutil.Error) as error:
        raise LockError(
            "the repository cannot be copied to build the projects in it", detail=str(error)
        ) from error
    return folder_in_copy(repository, copy)


def static_version(folder: Path) -> str:
    """Return the version that a project's pyproject.toml says, "0" when it is found in building."""
    return str(_project(folder).get("version", "0"))


def _is_static(folder: Path) -> bool:
    project = _project(folder)
    return {"name", "version"} <= project.keys() and not project.get("dynamic")


def _project(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        content = toml.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        project = content.get("project")
        return project if isinstance(project, dict) else {}
    return {}
