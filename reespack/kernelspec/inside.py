"""Kernelspecs inside an environment, made to start from wherever it lies.

A kernelspec is a folder `share/jupyter/kernels/NAME` with a `kernel.json`
(https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs). jupyter_client puts the
folder's own path in the place of `{resource_dir}`, so that a launcher beside kernel.json can find
the environment. Files are replaced and never written to: they may be links into a package cache.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

from reespack.errors import InstallError
from reespack.kernelspec.activation import write_activation
from reespack.kernelspec.scripts import PREFIX_MARK, read_script, replace_file, shell_text
from reespack.products import Kernelspec
from reespack.site_packages import site_packages
from reespack.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.model import EnvironmentSpec, Repository
    from reespack.products import Prefix

__all__ = ["KERNELS", "add_kernelspecs"]

KERNELS = "share/jupyter/kernels"
"""Where kernelspecs lie in an environment."""

NATIVE = {"python": "python3", "r": "ir"}
"""The kernelspec that stands for a language when an environment has several for it."""

_LAUNCH = "launch.sh"
_IPYKERNEL: dict[str, Any] = {
    "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "metadata": {"debugger": True},
}


class _Found(Value):
    """A kernelspec as its package brought it."""

    folder: Path
    content: dict[str, Any]

    @property
    def language(self) -> str:
        return str(self.content.get("language", "")).lower()


def add_kernelspecs(
    prefix: Prefix, spec: EnvironmentSpec, *, repository: Repository
) -> tuple[Kernelspec, ...]:
    """Make every kernel in `prefix` start from anywhere, and name one after the repository.

    The kernelspecs keep their names, since notebooks ask for `python3`; each also gets a twin that
    is named after the environment, `NAME` for the kernel of its first language and `NAME-python3`
    and the like for further ones. Those named after it come first in what is returned. Also writes
    `share/reespack/exec` and what it needs. May be called again on the same prefix.

    Raises InstallError when there is no kernel for a language of the spec, or a kernel.json
    cannot be read.
    """
    write_activation(prefix.path, spec, repository=repository)
    name = kernel_name(spec.name)
    found = _find(prefix.path)
    _require(found, spec)
    named: list[Kernelspec] = []
    kept: list[Kernelspec] = []
    for index, kernel in enumerate(_ordered(found, spec)):
        content, launch = _portable(kernel, prefix.path, name=spec.name)
        itself = _write(kernel.folder, content, launch)
        twin = _twin_name(name, kernel, found, leads=index == 0)
        if twin == kernel.folder.name.lower():
            named.append(itself)
            continue
        kept.append(itself)
        title = _title(spec.name, str(content["display_name"]))
        _copy_resources(kernel.folder, kernel.folder.with_name(twin))
        mine = {**content, "display_name": title}
        named.append(_write(kernel.folder.with_name(twin), mine, launch))
    return (*named, *kept)


def _twin_name(name: str, kernel: _Found, found: list[_Found], *, leads: bool) -> str:
    """Return the name of a kernel's twin, which may be its own, but not another kernel's."""
    own = kernel.folder.name.lower()
    others = {other.folder.name.lower() for other in found} - {own}
    return name if leads and name not in others else f"{name}-{own}"


def kernel_name(name: str) -> str:
    """Return `name` as jupyter_client allows it for a kernel: lower case, `[a-z0-9._-]`."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "environment"


# --- what is there -----------------------------------------------------------------------------


def _find(prefix: Path) -> list[_Found]:
    kernels = prefix / KERNELS
    files = sorted(kernels.glob("*/kernel.json")) if kernels.is_dir() else []
    found = [_Found(folder=file.parent, content=_read(file)) for file in files]
    # A twin of an earlier call is made anew from its original.
    found = [
        kernel
        for kernel in found
        if _mine(kernel.content).get("kernel", kernel.folder.name) == kernel.folder.name
    ]
    if not any(kernel.language == "python" for kernel in found) and _has_ipykernel(prefix):
        folder = kernels / NATIVE["python"]
        folder.mkdir(parents=True, exist_ok=True)
        found.append(_Found(folder=folder, content=_IPYKERNEL))
    return found


def _read(file: Path) -> dict[str, Any]:
    where = file.relative_to(file.parents[4])
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InstallError(f"{where} cannot be read: {error}") from error
    argv = content.get("argv") if isinstance(content, dict) else None
    if not isinstance(argv, list) or not argv or not all(isinstance(arg, str) for arg in argv):
        raise InstallError(
            f"{where} has no command (argv)", hint="the package that it comes from is broken"
        )
    content.setdefault("display_name", file.parent.name)
    content.setdefault("language", "")
    return dict(content)


def _mine(content: dict[str, Any]) -> dict[str, Any]:
    """Return what an earlier call wrote into the kernelspec's metadata."""
    metadata = content.get("metadata")
    mine = metadata.get("reespack") if isinstance(metadata, dict) else None
    return mine if isinstance(mine, dict) else {}


def _has_ipykernel(prefix: Path) -> bool:
    return any((site / "ipykernel_launcher.py").exists() for site in site_packages(prefix))


def _require(found: list[_Found], spec: EnvironmentSpec) -> None:
    present = {kernel.language for kernel in found}
    for language in spec.languages:
        if language.lower() not in present:
            wanted = {"python": "ipykernel", "r": "r-irkernel"}.get(language.lower(), "its kernel")
            raise InstallError(
                f"the environment has no Jupyter kernel for {language}",
                hint=f"add {wanted} to the repository's dependencies, or to its lockfile",
            )


def _ordered(found: list[_Found], spec: EnvironmentSpec) -> list[_Found]:
    """Return the kernels, that of the spec's first language first."""
    languages = [language.lower() for language in spec.languages]

    def rank(kernel: _Found) -> tuple[int, bool, str]:
        known = kernel.language in languages
        place = languages.index(kernel.language) if known else len(languages)
        return place, NATIVE.get(kernel.language) != kernel.folder.name, kernel.folder.name

    return sorted(found, key=rank)


# --- made to move ------------------------------------------------------------------------------


def _portable(kernel: _Found, prefix: Path, *, name: str) -> tuple[dict[str, Any], str]:
    """Return the kernel.json and the launcher that work wherever the environment lies."""
    content = _relocatable(kernel.content, prefix)
    mine: dict[str, Any] = {"name": name, "kernel": kernel.folder.name}
    if variables := _variables(kernel.content, prefix):
        mine["env"] = variables
    content["metadata"] = {**(content.get("metadata") or {}), "reespack": mine}
    return content, _launch_script(variables)


def _relocatable(content: dict[str, Any], prefix: Path) -> dict[str, Any]:
    """Return a kernel.json that names no place but `{resource_dir}`."""
    argv = list(content["argv"])
    if argv[:2] == ["/bin/sh", f"{{resource_dir}}/{_LAUNCH}"]:
        argv = argv[2:]
    if "/" not in argv[0]:
        program = "python" if re.fullmatch(r"python[0-9.]*", argv[0]) else argv[0]
        if (prefix / "bin" / program).exists():
            argv[0] = f"{PREFIX_MARK}/bin/{program}"
    # `{prefix}` is the prefix of whoever starts the kernel: a Jupyter server somewhere else.
    marked = [
        arg.replace(str(prefix), PREFIX_MARK).replace("{prefix}", PREFIX_MARK) for arg in argv
    ]
    made = {**content, "argv": ["/bin/sh", f"{{resource_dir}}/{_LAUNCH}", *marked]}
    variables = content.get("env")
    if isinstance(variables, dict):
        made["env"] = {k: v for k, v in variables.items() if str(prefix) not in str(v)}
    return made


def _variables(content: dict[str, Any], prefix: Path) -> dict[str, str]:
    """Return those of kernel.json's variables that name the prefix, with the mark in its place."""
    variables = content.get("env")
    found = {
        name: str(value).replace(str(prefix), PREFIX_MARK)
        for name, value in (variables.items() if isinstance(variables, dict) else ())
        if str(prefix) in str(value)
    }
    return {**_mine(content).get("env", {}), **found}


def _launch_script(variables: dict[str, str]) -> str:
    lines = [
        f"export {name}={shell_text(value, prefix=PREFIX_MARK, variable='prefix')}\n"
        for name, value in sorted(variables.items())
    ]
    return read_script("kernel.sh").replace("#VARIABLES#\n", "".join(lines))


def _title(name: str, display_name: str) -> str:
    """Return the name that people see: the repository's, then the language."""
    return f"{name} ({re.sub(r' *[(].*[)]$', '', display_name)})"


def _copy_resources(source: Path, target: Path) -> None:
    """Copy what lies beside kernel.json: logos, kernel.js."""
    ignore = shutil.ignore_patterns("kernel.json", _LAUNCH)
    shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)


def _write(folder: Path, content: dict[str, Any], launch: str) -> Kernelspec:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    replace_file(folder / "kernel.json", f"{text}\n")
    replace_file(folder / _LAUNCH, launch, executable=True)
    return Kernelspec(
        name=folder.name,
        display_name=str(content["display_name"]),
        language=str(content["language"]),
        path=f"{KERNELS}/{folder.name}",
    )
