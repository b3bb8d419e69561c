"""Turning a wheel into a conda package.

The layout of wheels is PEP 427's and the packaging specifications' ("Binary distribution format",
"Recording installed projects"); that of `noarch: python` packages is conda's CEP 20: files below
`site-packages/` and `python-scripts/`, entry points in `info/link.json`.
"""

from __future__ import annotations

import base64
import configparser
import csv
import email.parser
import email.policy
import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from reespack.channel.conda_file import PLACEHOLDER, PackageFile, PackageInfo, write_conda_file
from reespack.channel.matchspecs import (
    conda_version,
    dependency,
    local_label,
    parse_requirement,
    python_range,
)
from reespack.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reespack.channel.interpreter import Interpreter
    from reespack.channel.wheels import Wheel

__all__ = ["REVISION", "Metadata", "existing_package", "read_metadata", "wheel_package"]

REVISION = 0  # the build number; a change of what is made here raises it

_PYTHONS = tuple(f"3.{minor}" for minor in range(8, 17))  # those a noarch package may meet
_MACHINES = ("x86_64", "aarch64")
_OTHER_SYSTEMS = (("win32", "Windows", "nt", "AMD64"), ("darwin", "Darwin", "posix", "arm64"))

_SCRIPT = """\
#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit({call}())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a wheel's METADATA says, as far as a conda package repeats it."""

    name: str
    version: str
    requires: tuple[Requirement, ...]
    requires_python: str | None
    license: str
    summary: str
    home: str


def read_metadata(path: Path) -> Metadata:
    """Read `*.dist-info/METADATA` of a wheel; `ChannelError` when it is no wheel."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(f"{_dist_info(archive)}/METADATA").decode("utf-8", "replace")
    except (zipfile.BadZipFile, KeyError) as error:
        raise ChannelError(f"{path.name} is not a wheel: {error}") from error
    # compat32: some descriptions are not what the newer policies take for a message.
    message = email.parser.Parser(policy=email.policy.compat32).parsestr(text, headersonly=True)

    def field(name: str) -> str:
        return str(message.get(name) or "").strip()

    requires: list[Requirement] = []
    for line in message.get_all("Requires-Dist") or ():
        try:
            requires.append(parse_requirement(str(line)))
        except InvalidRequirement as error:
            raise ChannelError(f"{path.name}: unreadable Requires-Dist: {line}") from error
    license_ = field("License-Expression") or field("License") or _classified(message)
    return Metadata(
        name=canonicalize_name(field("Name")),
        version=field("Version"),
        requires=tuple(requires),
        requires_python=field("Requires-Python") or None,
        # Some put a whole licence there; its first line names it.
        license=license_.splitlines()[0].strip()[:100] if license_ else "",
        summary=field("Summary").replace("\n", " "),
        home=field("Home-page") or _home(message.get_all("Project-URL") or ()),
    )


class _Headers(Protocol):
    def get_all(self, name: str, /) -> list[str] | None: ...


def _classified(message: _Headers) -> str:
    for line in message.get_all("Classifier") or ():
        if str(line).startswith("License ::"):
            return str(line).rpartition("::")[2].strip()
    return ""


def _home(urls: list[str] | tuple[str, ...]) -> str:
    labelled = dict(
        (label.strip().lower(), url.strip())
        for label, _, url in (str(line).partition(",") for line in urls)
    )
    for label in ("homepage", "home", "source", "source code", "repository", "github"):
        if label in labelled:
            return labelled[label]
    return next(iter(labelled.values()), "")


def _dist_info(archive: zipfile.ZipFile) -> str:
    for name in archive.namelist():
        folder, _, rest = name.partition("/")
        if folder.endswith(".dist-info") and rest == "METADATA":
            return folder
    raise KeyError("no METADATA")


# --- What the package depends on ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placement:
    """Where a package can be used: any Python or one, any machine or one."""

    one_python: bool
    one_machine: bool
    linux_only: bool


def _environment(interpreter: Interpreter) -> dict[str, str]:
    return dict(interpreter.markers)


def _requirements(
    metadata: Metadata,
    environment: dict[str, str],
    lookup: Callable[[str], Metadata | None],
    extras: frozenset[str] = frozenset(),
    seen: frozenset[tuple[str, str]] = frozenset(),
) -> Iterator[str]:
    """The match specs that hold in an environment; extras of dependencies are written out."""
    for requirement in metadata.requires:
        if not _holds(requirement.marker, environment, extras):
            continue
        name = canonicalize_name(requirement.name)
        if name != metadata.name:
            yield dependency(requirement)
        wanted = frozenset(extra for extra in requirement.extras if (name, extra) not in seen)
        if not wanted:
            continue
        other = metadata if name == metadata.name else lookup(name)
        if other is not None:
            deeper = seen | {(name, extra) for extra in wanted}
            only = _only_extras(other, environment)
            for spec in _requirements(other, environment, lookup, wanted, deeper):
                if spec not in only:
                    yield spec


def _only_extras(metadata: Metadata, environment: dict[str, str]) -> frozenset[str]:
    """What the distribution asks for anyway: no extra's doing."""
    return frozenset(
        dependency(requirement)
        for requirement in metadata.requires
        if _holds(requirement.marker, environment, frozenset())
    )


def _holds(marker: Marker | None, environment: dict[str, str], extras: frozenset[str]) -> bool:
    if marker is None:
        return True
    try:
        return any(
            marker.evaluate({**environment, "extra": extra}) for extra in (extras or {""})
        )
    except UndefinedEnvironmentName:
        return False


def _depends(
    metadata: Metadata, environment: dict[str, str], lookup: Callable[[str], Metadata | None]
) -> tuple[str, ...]:
    return tuple(sorted(set(_requirements(metadata, environment, lookup))))


def _placement(
    metadata: Metadata, interpreter: Interpreter, lookup: Callable[[str], Metadata | None]
) -> _Placement:
    """Whether the dependencies differ between Pythons, machines or systems."""
    here = _environment(interpreter)
    depends = _depends(metadata, here, lookup)

    def same(**changes: str) -> bool:
        return _depends(metadata, {**here, **changes}, lookup) == depends

    return _Placement(
        one_python=not all(
            same(python_version=version, python_full_version=f"{version}.{patch}")
            for version in _pythons(metadata.requires_python)
            for patch in (0, 99)
        ),
        one_machine=not all(same(platform_machine=machine) for machine in _MACHINES),
        linux_only=not all(
            same(sys_platform=name, platform_system=system, os_name=os_name, platform_machine=m)
            for name, system, os_name, m in _OTHER_SYSTEMS
        ),
    )


def _pythons(requires_python: str | None) -> list[str]:
    try:
        allowed = SpecifierSet(requires_python or "")
    except InvalidSpecifier:
        return list(_PYTHONS)
    return [version for version in _PYTHONS if allowed.contains(f"{version}.99")]


def _glibc(wheel: Wheel) -> str | None:
    """The least glibc among the wheel's own platform tags, as a dependency (PEP 600)."""
    old = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
    found: list[tuple[int, int]] = []
    for tag in wheel.tags:
        if match := re.match(r"manylinux_(\d+)_(\d+)_", tag.platform):
            found.append((int(match[1]), int(match[2])))
        elif (name := tag.platform.partition("_")[0]) in old:
            found.append(old[name])
    return "__glibc >={}.{}".format(*min(found)) if found else None


# --- The package -------------------------------------------------------------------------------


def _builds(wheel: Wheel, interpreter: Interpreter) -> tuple[str, str]:
    """The build strings for any Python and for one."""
    label = local_label(wheel.version)
    ending = f"{wheel.sha256[:7]}_{REVISION}" + (f"_{label}" if label else "")
    return f"pyh{ending}", f"py{interpreter.tag}h{ending}"


def existing_package(wheel: Wheel, interpreter: Interpreter, folder: Path) -> Path | None:
    """The package that an earlier run made of this wheel for this Python."""
    for subdir in ("noarch", interpreter.subdir):
        for build in _builds(wheel, interpreter):
            name = f"{wheel.name}-{conda_version(wheel.version)}-{build}.conda"
            if (folder / subdir / name).exists():
                return folder / subdir / name
    return None


def wheel_package(
    wheel: Wheel,
    path: Path,
    *,
    interpreter: Interpreter,
    lookup: Callable[[str], Metadata | None],
    folder: Path,
) -> Path:
    """Write the package for the wheel at `path` into the channel `folder`.

    `lookup` gives the metadata of another distribution of the same closure, for its extras.
    Raises `ChannelError` when the wheel cannot be read.
    """
    metadata = read_metadata(path)
    placement = _placement(metadata, interpreter, lookup)
    any_python, one_python = _builds(wheel, interpreter)
    try:
        with zipfile.ZipFile(path) as archive:
            headers = any(".data/headers/" in name for name in archive.namelist())
            compiled = not wheel.pure or headers or placement.one_machine
            contents = _Contents(archive, None if not compiled else interpreter.minor)
            info = PackageInfo(
                name=wheel.name,
                version=conda_version(wheel.version),
                build=one_python if compiled or placement.one_python else any_python,
                build_number=REVISION,
                subdir=interpreter.subdir if compiled else "noarch",
                noarch=None if compiled else "python",
                depends=_all_depends(wheel, metadata, placement, interpreter, lookup, compiled),
                timestamp=contents.timestamp,
                license=metadata.license,
                summary=metadata.summary,
                home=metadata.home,
                entry_points=() if compiled else contents.entry_points,
            )
            return write_conda_file(folder, info, contents.files())
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise ChannelError(f"{path.name} is a broken wheel: {error}") from error


def _all_depends(
    wheel: Wheel,
    metadata: Metadata,
    placement: _Placement,
    interpreter: Interpreter,
    lookup: Callable[[str], Metadata | None],
    compiled: bool,
) -> tuple[str, ...]:
    depends = list(_depends(metadata, _environment(interpreter), lookup))
    major, minor = interpreter.minor.split(".")
    if compiled or placement.one_python:
        depends.append(f"python >={interpreter.minor},<{major}.{int(minor) + 1}.0a0")
    else:
        depends.append(python_range(metadata.requires_python))
    if compiled and not wheel.pure:
        depends.append(f"python_abi {interpreter.minor}.* *_cp{interpreter.tag}")
        depends.extend(filter(None, [_glibc(wheel)]))
    if not compiled and placement.linux_only:
        depends.append("__linux")
    return tuple(sorted(set(depends)))


class _Contents:
    """The files of a wheel, placed as they are in a conda package.

    `minor` is the Python's version, or None for `noarch: python`.
    """

    def __init__(self, archive: zipfile.ZipFile, minor: str | None) -> None:
        self._archive = archive
        self._minor = minor
        self._dist_info = _dist_info(archive)
        self._site = f"lib/python{minor}/site-packages" if minor else "site-packages"
        self._scripts = "bin" if minor else "python-scripts"
        self._data = self._dist_info.removesuffix(".dist-info") + ".data"

    @property
    def timestamp(self) -> int:
        """The youngest date in the wheel (milliseconds, read as UTC)."""
        newest = max(entry.date_time for entry in self._archive.infolist())
        try:
            return int(datetime(*newest, tzinfo=timezone.utc).timestamp()) * 1000
        except ValueError:  # zips may hold a month 0
            return 315_532_800_000

    @property
    def entry_points(self) -> tuple[str, ...]:
        """Console and GUI scripts, as `name = module:object`."""
        return tuple(f"{name} = {module}:{target}" for name, module, target in self._commands())

    def _commands(self) -> Iterator[tuple[str, str, str]]:
        try:
            text = self._archive.read(f"{self._dist_info}/entry_points.txt").decode()
        except KeyError:
            return
        parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # keep the case
        parser.read_string(text)
        for section in ("console_scripts", "gui_scripts"):
            for name, value in parser.items(section) if parser.has_section(section) else ():
                module, _, target = value.partition("[")[0].strip().partition(":")
                if target:
                    yield name.strip(), module.strip(), target.strip()

    def files(self) -> list[PackageFile]:
        """Every file, RECORD rewritten to say where they are once installed."""
        own = f"{self._site}/{self._dist_info}"
        files = [self._file(entry) for entry in self._archive.infolist() if self._wanted(entry)]
        files += [
            PackageFile(path=f"{own}/INSTALLER", read=lambda: b"conda\n"),
            PackageFile(path=f"{own}/REQUESTED"),
        ]
        if self._minor:
            files += [self._script(*command) for command in self._commands()]
        record = self._record(files).encode()
        return [*files, PackageFile(path=f"{own}/RECORD", read=lambda: record)]

    def _wanted(self, entry: zipfile.ZipInfo) -> bool:
        name = entry.filename
        made_anew = {"RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED"}
        if name.endswith(("/", ".pyc")):
            return False
        parts = name.split("/")
        if name.startswith("/") or ".." in parts:
            raise KeyError(f"a path that leads out: {name}")
        return not (parts[0] == self._dist_info and parts[-1] in made_anew and len(parts) == 2)

    def _file(self, entry: zipfile.ZipInfo) -> PackageFile:
        place = self._place(entry.filename)
        executable = bool((entry.external_attr >> 16) & 0o111)

        def read() -> bytes:
            return self._archive.read(entry)

        if not place.startswith(f"{self._scripts}/"):
            return PackageFile(path=place, read=read, executable=executable)
        data = read()
        python = f"#!{PLACEHOLDER}/bin/python".encode()
        replaced = re.sub(rb"\A#!pythonw?", python, data, count=1)
        return PackageFile(
            path=place,
            read=lambda: replaced,
            executable=True,
            placeholder="text" if replaced is not data and replaced != data else None,
        )

    def _place(self, name: str) -> str:
        if not name.startswith(f"{self._data}/"):
            return f"{self._site}/{name}"
        _, kind, rest = name.split("/", 2)
        folders = {
            "purelib": f"{self._site}/",
            "platlib": f"{self._site}/",
            "scripts": f"{self._scripts}/",
            "data": "",
            "headers": f"include/python{self._minor}/{self._data.partition('-')[0]}/",
        }
        return folders[kind] + rest

    def _script(self, name: str, module: str, target: str) -> PackageFile:
        text = _SCRIPT.format(
            python=f"{PLACEHOLDER}/bin/python{self._minor}",
            module=module,
            first=target.partition(".")[0],
            call=target,
        ).encode()
        return PackageFile(
            path=f"bin/{name}", read=lambda: text, executable=True, placeholder="text"
        )

    def _record(self, files: list[PackageFile]) -> str:
        rows = [self._row(file) for file in files]
        if not self._minor:  # made when the package is linked
            rows += [(f"../../../bin/{name}", "", "") for name, _, _ in self._commands()]
        rows.append((f"{self._dist_info}/RECORD", "", ""))
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(sorted(set(rows)))
        return out.getvalue()

    def _row(self, file: PackageFile) -> tuple[str, str, str]:
        if file.path.startswith(f"{self._site}/"):
            path = file.path.removeprefix(f"{self._site}/")
        elif file.path.startswith("python-scripts/"):
            path = f"../../../bin/{file.path.removeprefix('python-scripts/')}"
        else:
            path = f"../../../{file.path}"
        if file.placeholder is not None:  # its bytes depend on where it is installed
            return path, "", ""
        data = file.read()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return path, f"sha256={digest}", str(len(data))
