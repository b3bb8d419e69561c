"""The names of apt.txt as conda requirements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from reespack.errors import UnmappedAptError
from reespack.model import CondaRequirement, Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.apt import AptRow, AptTable
    from reespack.model import SystemPackage

__all__ = ["MappedPackages", "map_system_packages"]


class MappedPackages(NamedTuple):
    """What takes the place of system packages, and what there is to say about it."""

    conda: tuple[CondaRequirement, ...]
    notes: tuple[Note, ...]


def map_system_packages(
    packages: Sequence[SystemPackage],
    *,
    table: AptTable,
    policy: Literal["error", "warn", "ignore"],
) -> MappedPackages:
    """Return the conda requirements for names from apt.txt, each with the name's own origin.

    Names that the machine or every environment has add nothing. For names without a counterpart,
    `policy` decides: raise UnmappedAptError that lists them all, warn, or only mention them.
    """
    conda: list[CondaRequirement] = []
    notes: list[Note] = []
    unmapped: list[tuple[SystemPackage, str]] = []
    for package in packages:
        row = table.look_up(package.name)
        if row is None or row.kind in {"none", "gui"}:
            unmapped.append((package, _why(row)))
        elif row.kind == "base":
            message = f"{package.name} is left out: it is there already"
            notes.append(
                Note(message=message, hint=row.note or None, origin=package.origin, level="info")
            )
        else:
            conda += [
                CondaRequirement(spec=spec, name=_name(spec), origin=package.origin)
                for spec in row.conda
            ]
            notes.append(_mapped_note(package, row))
    if unmapped and policy == "error":
        raise _error(unmapped)
    for package, why in unmapped:
        notes.append(
            Note(
                message=f"{package.name} has no counterpart, and is left out",
                hint=why or None,
                origin=package.origin,
                level="warning" if policy == "warn" else "info",
            )
        )
    return MappedPackages(conda=tuple(conda), notes=tuple(notes))


def _name(spec: str) -> str:
    return re.split(r"[\s=<>!~\[]", spec.rpartition("::")[2], maxsplit=1)[0]


def _why(row: AptRow | None) -> str:
    if row is None:
        return ""
    return row.note or ("a desktop program" if row.kind == "gui" else "")


def _mapped_note(package: SystemPackage, row: AptRow) -> Note:
    partial = row.note.startswith("partial")
    return Note(
        message=f"{package.name} becomes {' '.join(row.conda)}",
        hint=row.note or None,
        origin=package.origin,
        level="warning" if partial else "info",
    )


def _error(unmapped: list[tuple[SystemPackage, str]]) -> UnmappedAptError:
    names = ", ".join(package.name for package, _ in unmapped)
    plural = "packages" if len(unmapped) > 1 else "package"
    first = unmapped[0][0].origin
    return UnmappedAptError(
        f"{first}: no conda counterpart is known for the apt {plural} {names}",
        hint="pass --apt=warn to build without, or give a table of your own (setting apt_table)",
        detail="\n".join(
            f"{package.origin}: {package.name}" + (f" ({why})" if why else "")
            for package, why in unmapped
        ),
    )
