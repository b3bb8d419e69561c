"""The names that REES gives a meaning, as the buildpacks know them, and where they occur."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reespack.errors import MalformedFileError
from reespack.model import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reespack.model import Repository
    from reespack.registry import RegisteredBuildpack

__all__ = ["misspelt", "present_files"]


def present_files(
    repository: Repository, buildpacks: Sequence[RegisteredBuildpack]
) -> dict[str, str]:
    """Return the REES files in the config folder and the root, each with the buildpack it is for.

    Raises MalformedFileError for one in the config folder that is a link to nothing.
    """
    folder = repository.config_folder
    found: dict[str, str] = {}
    for place in dict.fromkeys((folder, "")):
        for name in _names(repository, place):
            path = f"{place}/{name}" if place else name
            known = next((one.buildpack.id for one in buildpacks if _knows(one, name)), None)
            if known is None:
                continue
            if repository.is_file(path):
                found[path] = known
            elif place == folder and (repository.root / path).is_symlink():
                raise MalformedFileError(
                    f"{path}: is a link to nothing", hint="remove it, or commit what it points to"
                )
    return found


def misspelt(repository: Repository, buildpacks: Sequence[RegisteredBuildpack]) -> Iterator[Note]:
    """Yield a note for each file whose name is right but for upper and lower case."""
    names = {name for one in buildpacks for name in one.buildpack.files}
    right = {name.casefold(): name for name in sorted(names)}
    for name in _names(repository, repository.config_folder):
        meant = right.get(name.casefold())
        if meant is not None and name not in names:
            yield Note(
                message=f"{name} is not read: REES spells it {meant}",
                hint=f"rename it to {meant}",
            )


def _names(repository: Repository, place: str) -> list[str]:
    folder = repository.root / place
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _knows(registered: RegisteredBuildpack, name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in registered.buildpack.files)
