"""Turning a wheel into a conda package.

The layout of wheels is PEP 427's and the packaging specifications' ("Binary distribution format",
"Recording installed projects"); that of `noarch: python` packages is conda's CEP 20: files below
`site-packages/` and `python-scripts/`, entry points in `info/link.json`.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import zipfile
import zlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from reespack.channel.conda_file import PLACEHOLDER, PackageFile, PackageInfo, write_conda_file
from reespack.channel.dependencies import depends_of, placement_of
from reespack.channel.matchspecs import conda_version, local_label
from reespack.channel.metadata import dist_info, read_metadata
from reespack.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reespack.channel.dependencies import Lookup
    from reespack.channel.interpreter import Interpreter
    from reespack.channel.wheels import Wheel

__all__ = ["REVISION", "existing_package", "wheel_package"]

REVISION = 0  # the build number; a change of what is made here raises it

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
    wheel: Wheel, path: Path, *, interpreter: Interpreter, lookup: Lookup, folder: Path
) -> Path:
    """Write the package for the wheel at `path` into the channel `folder`.

    `lookup` is asked for the distributions whose extras this one wants. Raises `ChannelError` when
    the wheel cannot be read.
    """
    metadata = read_metadata(path)
    placement = placement_of(metadata, interpreter, lookup)
    any_python, one_python = _builds(wheel, interpreter)
    try:
        with zipfile.ZipFile(path) as archive:
            # Headers lie in a folder named after the Python, for which noarch has no word.
            headers = any(".data/headers/" in name for name in archive.namelist())
            noarch = wheel.pure and not headers and not placement.one_machine
            contents = _Contents(archive, None if noarch else interpreter.minor)
            info = PackageInfo(
                name=wheel.name,
                version=conda_version(wheel.version),
                build=any_python if noarch and not placement.one_python else one_python,
                build_number=REVISION,
                subdir="noarch" if noarch else interpreter.subdir,
                noarch="python" if noarch else None,
                depends=depends_of(
                    wheel, metadata, placement, interpreter, lookup=lookup, noarch=noarch
                ),
                timestamp=contents.timestamp,
                license=metadata.license,
                summary=metadata.summary,
                home=metadata.home,
                entry_points=contents.entry_points if noarch else (),
            )
            return write_conda_file(folder, info, contents.files())
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, configparser.Error) as error:
        raise ChannelError(f"{path.name} is a broken wheel: {error}") from error


class _Contents:
    """The files of a wheel, placed as they are in a conda package.

    `minor` is the Python's version, or None for `noarch: python`.
    """

    def __init__(self, archive: zipfile.ZipFile, minor: str | None) -> None:
        self._archive = archive
        self._minor = minor
        self._dist_info = dist_info(archive)
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
        return parts not in [[self._dist_info, made] for made in made_anew]

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
