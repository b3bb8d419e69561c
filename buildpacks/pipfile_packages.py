"""One package of a Pipfile or Pipfile.lock, as a requirement for pip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildpacks.malformed import malformed, nearest
from buildpacks.pip_targets import Asked, pip_requirement

if TYPE_CHECKING:
    from reespack.model import Origin, PipRequirement, Repository

__all__ = ["pipfile_requirement"]

_VCS = ("git", "hg", "svn", "bzr")
_MARKERS = (
    "os_name",
    "sys_platform",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_version",
    "python_full_version",
    "implementation_name",
    "implementation_version",
)
_KEYS = frozenset(
    (
        *_VCS,
        *_MARKERS,
        "version",
        "extras",
        "markers",
        "ref",
        "subdirectory",
        "path",
        "file",
        "editable",
        "hashes",
        "index",
    )
)


def pipfile_requirement(
    name: str, wanted: object, origin: Origin, repository: Repository
) -> PipRequirement:
    """Return the requirement for `name = wanted`; raise MalformedFileError when it makes none."""
    table: dict[str, Any] = {"version": wanted} if isinstance(wanted, str) else {}
    if isinstance(wanted, dict):
        table = wanted
    elif not table:
        raise malformed(origin, f"`{name}` is neither a version nor a table")
    for key in table.keys() - _KEYS:
        near = nearest(key, _KEYS)
        hint = f"did you mean `{near}`?" if near else "pipenv has no such key"
        raise malformed(origin, f"`{name}` has the unknown key `{key}`", hint)
    text = _text(name, table, origin)
    asked = Asked(
        text=text,
        origin=origin,
        folder=origin.file.rpartition("/")[0],
        editable=bool(table.get("editable", False)),
        hashes=tuple(sorted(_texts(table, "hashes", origin))),
    )
    return pip_requirement(asked, repository)


def _text(name: str, table: dict[str, Any], origin: Origin) -> str:
    """Return the requirement as pip writes it."""
    extras = ",".join(sorted(_texts(table, "extras", origin)))
    bracket = f"[{extras}]" if extras else ""
    marker = _marker(table)
    suffix = f" ; {marker}" if marker else ""
    if path := table.get("path") or _local_file(table):
        return f"{path if str(path).startswith('.') else f'./{path}'}{bracket}{suffix}"
    for vcs in _VCS:
        if vcs in table:
            return f"{name}{bracket} @ {_vcs_url(vcs, table)}{suffix}"
    if "file" in table:
        return f"{name}{bracket} @ {table['file']}{suffix}"
    version = table.get("version", "*")
    if not isinstance(version, str):
        raise malformed(origin, f"the version of `{name}` is not text", "put it into quotes")
    if version[:1].isdigit():  # pipenv takes a bare version for an exact one
        version = f"=={version}"
    return f"{name}{bracket}{'' if version == '*' else version}{suffix}"


def _local_file(table: dict[str, Any]) -> str | None:
    file = table.get("file")
    return file if isinstance(file, str) and "://" not in file else None


def _vcs_url(vcs: str, table: dict[str, Any]) -> str:
    url = str(table[vcs])
    if "://" not in url and ":" in url:  # git@host:owner/name, as ssh writes it
        url = "ssh://" + url.replace(":", "/", 1)
    target = url if url.startswith(f"{vcs}+") else f"{vcs}+{url}"
    target += f"@{table['ref']}" if table.get("ref") else ""
    return target + (f"#subdirectory={table['subdirectory']}" if table.get("subdirectory") else "")


def _marker(table: dict[str, Any]) -> str:
    """Return the markers, those under their own keys (`sys_platform = "== 'win32'"`) too."""
    found = [str(table["markers"])] if table.get("markers") else []
    found += [f"{key} {table[key]}" for key in _MARKERS if key in table]
    return found[0] if len(found) == 1 else " and ".join(f"({marker})" for marker in found)


def _texts(table: dict[str, Any], key: str, origin: Origin) -> list[str]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise malformed(origin, f"`{key}` is not a list of texts")
    return values
