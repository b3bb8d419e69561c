"""Turning an interpreter of this machine into the conda package `python`.

What travels: the programs, the standard library without its tests, the headers, libpython, and
the shared libraries that the extension modules need and glibc does not bring. What does not:
site-packages, bytecode, static libraries. Programs and libraries find each other relative to
themselves; text files that name the old prefix carry a placeholder instead; in binaries, where
the prefix is a fallback that CPython never reaches here, a path of the same length without
meaning takes its place.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.channel.conda_file import PLACEHOLDER, PackageFile, PackageInfo, write_conda_file
from reespack.channel.elf import (
    find_library,
    is_elf,
    is_glibc,
    read_dynamic,
    set_rpath,
    without_debugging,
)
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.channel.interpreter import Interpreter

__all__ = ["REVISION", "python_abi_package", "python_package"]

REVISION = 2  # the build number; a change of what is made here raises it

# Test suites: a third of the standard library. test.support stays, since others import it.
_TESTS = re.compile(
    r"(test/(?!__init__\.py$|support/).*|(idlelib/idle_test|lib2to3/tests|tkinter/test"
    r"|unittest/test|ctypes/test|distutils/tests|sqlite3/test)/.*)"
)
_LEFT_OUT = re.compile(
    r"(site-packages/.*|dist-packages/.*|.*__pycache__/.*|.*\.(pyc|pyo|a|o)"
    r"|config-[^/]*/libpython.*|EXTERNALLY-MANAGED)"  # nobody manages the new place
)
# They need X11, Tcl's own library or Kerberos: used when the machine has these, never bundled.
_NOT_BUNDLED = re.compile(r"(_tkinter|nis)\.")
_PROGRAMS = re.compile(r"(python|pydoc|idle|2to3)[0-9.]*(-?config)?|2to3-[0-9.]+")
# A library path for the old prefix, in the flags that extension modules are built with.
_RPATH_FLAG = re.compile(rb" ?-Wl,-rpath[,=]" + PLACEHOLDER.encode() + rb"[^\s'\"]*")

_CERTIFICATES = """

# Added by reespack: OpenSSL looks for certificates where the machine it was built on has them.
# Elsewhere the machine's own bundle is taken, or else the one that travels with this Python.
def _find_certificates():
    import _ssl
    file_variable, file, folder_variable, folder = _ssl.get_default_verify_paths()
    if file_variable in os.environ or folder_variable in os.environ:
        return
    if os.path.exists(file) or os.path.isdir(folder):
        return
    own = os.path.join(os.path.dirname(__file__), "..", "..", "ssl", "cert.pem")
    for bundle in (
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
        os.path.realpath(own),
    ):
        if os.path.isfile(bundle):
            os.environ[file_variable] = bundle
            return


_find_certificates()
"""


class _Source(Value):
    path: str
    source: Path


def python_package(interpreter: Interpreter, folder: Path) -> tuple[Path, bool]:
    """Write the package into the channel `folder`; its path, and whether it had to be made."""
    build = f"h{_identity(interpreter)}_{REVISION}_cpython"
    target = folder / interpreter.subdir / f"python-{interpreter.version}-{build}.conda"
    if target.exists():
        return target, False
    with tempfile.TemporaryDirectory(prefix="reespack-python-") as scratch:
        files, glibc = _relocated(interpreter, Path(scratch))
        info = PackageInfo(
            name="python",
            version=interpreter.version,
            build=build,
            build_number=REVISION,
            subdir=interpreter.subdir,
            depends=(f"__glibc >={glibc[0]}.{glibc[1]}",) if glibc else (),
            constrains=(f"python_abi {interpreter.minor}.* *_cp{interpreter.tag}",),
            timestamp=_timestamp(interpreter),
            license="Python-2.0",
            summary="The Python programming language",
            home="https://www.python.org/",
            site_packages=f"lib/python{interpreter.minor}/site-packages",
        )
        return write_conda_file(folder, info, files), True


def python_abi_package(interpreter: Interpreter, folder: Path) -> tuple[Path, bool]:
    """Write the metapackage that ties compiled packages to a Python; as `python_package`."""
    info = PackageInfo(
        name="python_abi",
        version=interpreter.minor,
        build=f"8_cp{interpreter.tag}",  # conda-forge's build number for all of them
        build_number=8,
        subdir="noarch",
        noarch="generic",
        constrains=(f"python {interpreter.minor}.* *_cpython",),
        timestamp=1_700_000_000_000,
        license="BSD-3-Clause",
        summary="Metapackage to select Python's binary interface",
        home="https://github.com/conda-forge/python_abi-feedstock",
    )
    target = folder / info.subdir / info.file_name
    if target.exists():
        return target, False
    return write_conda_file(folder, info, ()), True


def _identity(interpreter: Interpreter) -> str:
    digest = hashlib.sha256()
    digest.update(interpreter.executable.read_bytes())
    for path in sorted((interpreter.prefix / "lib").glob(f"libpython{interpreter.minor}*.so.*")):
        digest.update(path.read_bytes())
    digest.update(str(interpreter.prefix).encode())
    return digest.hexdigest()[:7]


def _timestamp(interpreter: Interpreter) -> int:
    return int((interpreter.stdlib / "os.py").stat().st_mtime) * 1000


def _sources(interpreter: Interpreter) -> Iterator[_Source]:
    prefix, minor = interpreter.prefix, interpreter.minor
    for path in sorted((prefix / "bin").iterdir()):
        if _PROGRAMS.fullmatch(path.name) and _belongs(path, minor):
            yield _Source(path=f"bin/{path.name}", source=path)
    patterns = (
        f"lib/libpython{minor}*.so*",
        "lib/libpython3.so",
        f"lib/pkgconfig/python-{minor}*.pc",
        "lib/pkgconfig/python3*.pc",
    )
    for pattern in patterns:
        for path in filter(Path.is_file, sorted(prefix.glob(pattern))):
            yield _Source(path=str(path.relative_to(prefix)), source=path)
    for root in (interpreter.stdlib, prefix / "include" / f"python{minor}"):
        for path in sorted(root.rglob("*")):
            inside = str(path.relative_to(root))
            if not path.is_file() or _LEFT_OUT.fullmatch(inside) or _TESTS.fullmatch(inside):
                continue
            yield _Source(path=str(path.relative_to(prefix)), source=path)


def _belongs(program: Path, minor: str) -> bool:
    """Whether a program is this Python's, in a folder that may hold those of several."""
    if not program.is_file():
        return False
    if minor in program.resolve().name:
        return True
    with program.open("rb") as file:
        return f"python{minor}".encode() in file.readline()


def _relocated(
    interpreter: Interpreter, scratch: Path
) -> tuple[list[PackageFile], tuple[int, int] | None]:
    files: list[PackageFile] = []
    binaries: dict[str, Path] = {}
    for item in _sources(interpreter):
        if item.source.is_symlink() and (link := _link(item.source)):
            files.append(PackageFile(path=item.path, link=link, read=item.source.read_bytes))
        elif is_elf(item.source):
            binaries[item.path] = item.source
        else:
            files.append(_text_file(item, interpreter))
    binaries |= _libraries(interpreter, binaries)
    least: list[tuple[int, int]] = []
    for path, source in sorted(binaries.items()):
        files.append(_binary_file(path, source, interpreter, scratch))
        if (glibc := read_dynamic(source).glibc) is not None:
            least.append(glibc)
    files += _additions(interpreter, {file.path for file in files})
    return files, max(least, default=None)


def _link(path: Path) -> str | None:
    """Where a symbolic link to a file of the same folder leads; None for one that leads out."""
    target = path.readlink()
    return str(target) if len(target.parts) == 1 else None


def _text_file(item: _Source, interpreter: Interpreter) -> PackageFile:
    executable = bool(item.source.stat().st_mode & 0o100)
    data = item.source.read_bytes()
    replaced = data
    for former in interpreter.former_prefixes:
        replaced = _whole_path(former).sub(PLACEHOLDER.encode(), replaced)
    if item.path.endswith(f"python{interpreter.minor}/ssl.py"):
        replaced += _CERTIFICATES.encode()
    named = PLACEHOLDER.encode() in replaced
    if named or Path(item.path).name == "Makefile" or "_sysconfigdata" in item.path:
        replaced = _without_build_folder(replaced, interpreter)
    return PackageFile(
        path=item.path,
        read=lambda: replaced,
        executable=executable,
        placeholder="text" if named else None,
    )


def _whole_path(prefix: str) -> re.Pattern[bytes]:
    """Match the prefix, but not a longer path that only begins with the same letters."""
    return re.compile(re.escape(prefix.encode()) + rb"(?![\w.+-])")


def _without_build_folder(data: bytes, interpreter: Interpreter) -> bytes:
    """Forget where the interpreter was compiled, and the library path in its link flags."""
    for folder in interpreter.build_folders:
        data = _whole_path(folder).sub(b"/build", data)
    return _RPATH_FLAG.sub(b"", data)


def _libraries(interpreter: Interpreter, binaries: dict[str, Path]) -> dict[str, Path]:
    """The closure of shared libraries beyond glibc, by their place in the package."""
    found: dict[str, Path] = {}
    waiting = [path for name, path in binaries.items() if not _NOT_BUNDLED.match(Path(name).name)]
    while waiting:
        asker = waiting.pop()
        for soname in read_dynamic(asker).needed:
            place = f"lib/{soname}"
            if is_glibc(soname) or place in found or place in binaries:
                continue
            library = find_library(soname, asked_by=asker, folders=(interpreter.prefix / "lib",))
            if library is not None:
                found[place] = library
                waiting.append(library)
    return found


def _binary_file(path: str, source: Path, interpreter: Interpreter, scratch: Path) -> PackageFile:
    copy = scratch / path.replace("/", "__")
    shutil.copyfile(source.resolve(), copy)
    copy.chmod(0o755)
    without_debugging(copy)
    if read_dynamic(copy).needed:
        up = "/".join([".."] * (len(Path(path).parts) - 1))
        set_rpath(copy, "$ORIGIN" if path.startswith("lib/lib") else f"$ORIGIN/{up}/lib")
    # A library of the system's may name such a path for reasons of its own.
    if source.resolve().is_relative_to(interpreter.prefix):
        data = copy.read_bytes()
        for former in (*interpreter.former_prefixes, *interpreter.build_folders):
            data = _whole_path(former).sub(_neutral(former).encode(), data)
        copy.write_bytes(data)
    return PackageFile(path=path, read=copy.read_bytes, executable=True)


def _neutral(path: str) -> str:
    """A path of the same length that leads nowhere, and ends as the given one does.

    Linkers let a string share the end of a longer one: in a CPython that is installed in
    `/opt/3.11.7`, the `3.11.7` of `sys.version` may be the last bytes of that path.
    """
    head, _, tail = path.rpartition("/")
    return f"/{'_' * (len(head) - 1)}/{tail}" if head else f"_{tail}"


def _additions(interpreter: Interpreter, present: set[str]) -> Iterator[PackageFile]:
    """The names that every conda Python has, and certificates for machines without any."""
    minor = interpreter.minor
    program = interpreter.executable.read_bytes
    for name in ("python", "python3"):
        if f"bin/{name}" not in present:
            yield PackageFile(path=f"bin/{name}", link=f"python{minor}", read=program)
    if int(minor.partition(".")[2]) >= 10:  # noqa: PLR2004 - 3.10
        # So that old condas find the folder: https://github.com/conda/conda/issues/11423
        yield PackageFile(path="lib/python3.1", link=f"python{minor}", read=bytes)
    site_packages = f"lib/python{minor}/site-packages/README.txt"
    text = b"This directory exists so that 3rd party packages can be installed here.\n"
    yield PackageFile(path=site_packages, read=lambda: text)
    if (bundle := _certificates()) is not None:
        yield PackageFile(path="ssl/cert.pem", read=bundle.read_bytes)


def _certificates() -> Path | None:
    """A bundle of public certificate authorities: certifi's, or the one of this machine."""
    try:
        import certifi
    except ImportError:
        import ssl

        file = ssl.get_default_verify_paths().openssl_cafile
        return Path(file) if Path(file).is_file() else None
    # Preferred: the machine's own may hold authorities that only its site trusts.
    return Path(certifi.where())
