"""What conda-meta says about the prefix, and how it is made independent of where it was built.

conda-pack's rule, and some more: the paths of the package cache go, and so do the digests of files
as they were in the build folder, the way in which files were linked, and the order that a parallel
installation left them in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reespack.conda_records import parse_record
from reespack.pack.block import LARGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Announced", "Installed", "installed_by", "read_variables", "rewritten"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNSET = "***unset***"
"""What `conda env config vars unset` leaves (conda.base.constants.CONDA_ENV_VARS_UNSET_VAR)."""

_COPIED = 3
"""conda's LinkType.copy: in an unpacked environment nothing is linked to a package cache."""

_TWIN = 4096
"""Bytes from which on it is worth while to look for a file that is the same."""

_LINKED = frozenset({"hardlink", "softlink", "directory"})


@dataclass(frozen=True, slots=True)
class Announced:
    """The placeholder that a package announced for one of its files: `mode` is text or binary."""

    placeholder: str
    mode: str


@dataclass(frozen=True, slots=True)
class Installed:
    """What the conda packages of a prefix brought: the owner of each path, and placeholders.

    `twins` has what several files have in common whose content is the same, by path; `large` the
    size in bytes of files of at least `LARGE`, the largest first.
    """

    owners: Mapping[str, str]
    announced: Mapping[str, Announced]
    twins: Mapping[str, str]
    large: Mapping[str, int]


def installed_by(records: Iterable[Mapping[str, Any]]) -> Installed:
    """Return what the packages brought whose records these are."""
    owners: dict[str, str] = {}
    announced: dict[str, Announced] = {}
    twins: dict[str, str] = {}
    large: dict[str, int] = {}
    for record in records:
        name = str(record.get("name", "an unnamed package"))
        owners.update(dict.fromkeys(record.get("files") or (), name))
        for entry in (record.get("paths_data") or {}).get("paths") or ():
            if entry.get("prefix_placeholder"):
                if entry.get("file_mode") in {"text", "binary"}:
                    announced[entry["_path"]] = Announced(
                        entry["prefix_placeholder"], entry["file_mode"]
                    )
            elif (entry.get("size_in_bytes") or 0) >= _TWIN and entry.get("sha256"):
                twins[entry["_path"]] = entry["sha256"]
                if entry["size_in_bytes"] >= LARGE:
                    large[entry["_path"]] = entry["size_in_bytes"]
    large = dict(sorted(large.items(), key=lambda item: (-item[1], item[0])))
    return Installed(owners, announced, twins, large)


def read_variables(prefix: Path) -> Mapping[str, str]:
    """Return the variables that conda sets on activation: those of packages, then the user's.

    conda-pack's scripts do not know them. Raises PackError for a file that cannot be read.
    """
    variables: dict[str, str] = {}
    for path in sorted(prefix.glob("etc/conda/env_vars.d/*.json")):
        variables.update(parse_record(path.read_bytes(), f"etc/conda/env_vars.d/{path.name}"))
    state = prefix / "conda-meta/state"
    if state.is_file():
        variables.update(parse_record(state.read_bytes(), "conda-meta/state").get("env_vars") or {})
    return {
        name: str(value)
        for name, value in variables.items()
        if _VARIABLE.fullmatch(name) and value != _UNSET
    }


def rewritten(content: bytes, name: str, bytecode: Mapping[str, str]) -> bytes:
    """Return a conda-meta record without what depends on the build folder or the cache.

    `bytecode` says where that of a source lies. The record lists what is packed of it, as conda
    lists what it compiles itself: whoever removes or updates the package removes that, too, and no
    source is ever passed over for an older one's.
    """
    record = parse_record(content, name)
    for name_of_path in ("extracted_package_dir", "package_tarball_full_path"):
        if name_of_path in record:
            record[name_of_path] = ""
    record.pop("indexed_timestamp", None)
    if record.get("link"):
        record["link"] = {**record["link"], "source": "", "type": _COPIED}
    if record.get("files"):
        files = [path for path in record["files"] if not _in_pycache(path)]
        compiled = [bytecode[path] for path in files if path in bytecode]
        record["files"] = sorted(files + compiled)
        data = record.get("paths_data")
        if data and data.get("paths"):
            entries = [_path_entry(one) for one in data["paths"] if not _in_pycache(one["_path"])]
            entries += [{"_path": path, "path_type": "pyc_file"} for path in compiled]
            data["paths"] = sorted(entries, key=lambda entry: str(entry["_path"]))
    return json.dumps(record, sort_keys=True).encode()  # indenting takes ten times as long


def _in_pycache(path: str) -> bool:
    return "/__pycache__/" in path


def _path_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop the digests and sizes that only held in the build folder; conda does without them."""
    entry.pop("sha256_in_prefix", None)
    if entry.get("prefix_placeholder"):
        entry.pop("size_in_bytes", None)  # rattler writes the size that a text has in the prefix
    if entry.get("path_type", "hardlink") not in _LINKED:
        entry.pop("sha256", None)  # an entry point, with the prefix in its first line
        entry.pop("size_in_bytes", None)
    return entry
