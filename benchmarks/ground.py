"""What the experiments stand on: a channel, two repositories, and what each side makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import FailedRunError, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["EXTRAS", "LARGE", "PROGRAMS", "SERVER", "SMALL", "Ground", "Size"]

TOP = Path(__file__).resolve().parent.parent
PROGRAMS = Path(__file__).resolve().parent / "programs"

_BASE = ("ipykernel", "jupyterlab", "matplotlib", "pandas", "scikit-learn", "scipy", "seaborn")
_MORE = (
    "bokeh", "dask", "h5py", "netcdf4", "numba", "opencv-python-headless", "plotly", "polars",
    "pyarrow", "scikit-image", "statsmodels", "sympy", "xarray",
)  # fmt: skip
_PIP = ("cowsay", "tabulate")
EXTRAS = (
    "blinker", "cachetools", "colorama", "docutils", "humanize", "inflection", "itsdangerous",
    "pluggy", "sortedcontainers", "tenacity", "termcolor", "tomlkit",
)  # fmt: skip
"""Small packages that neither environment has: each run that adds a requirement adds another."""

# What is no package or bytecode in reespack's cache (reespack/store.py says what lies where).
_NO_PACKAGES = ("artifacts", "builds", "lockfiles", "locks", "repodata", "repositories")


@dataclass(frozen=True, slots=True)
class Size:
    """One of the environments: what it is called and what it asks conda for."""

    name: str
    packages: tuple[str, ...]


SMALL = Size("small", _BASE)
LARGE = Size("large", (*_BASE, *_MORE))
SERVER = Size("server", (*_BASE, "jupyterhub"))


class Ground:
    """A folder with everything that experiments need, each thing made when it is first asked for.

    The channel stays from one `make bench` to the next; all else is made anew.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.work = folder / f"work-{os.getpid()}"
        self.log = self.work / "output.log"
        self._say = say
        self._ready: dict[tuple[str, str], Path] = {}
        self._running = ExitStack()
        self.work.mkdir(parents=True)
        # Where there is ext4, lay what comes next far from what other runs deleted (chattr(1), T).
        subprocess.run(["chattr", "+T", self.work], check=False, stderr=subprocess.DEVNULL)

    def clean(self) -> None:
        """Remove all but the channel."""
        remove(self.work)

    def close(self) -> None:
        """End what was started for several runs."""
        self._running.close()

    def start(self, *words: str | Path) -> str:
        """Start a program that runs until its stdin ends; return the first line that it prints.

        Raises FailedRunError.
        """
        words = tuple(map(str, words))
        pipe, said = subprocess.PIPE, self.work / "started.log"
        with said.open("wb") as log:
            process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log, text=True)
        self._running.enter_context(process)
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise FailedRunError(f"{words}: {said.read_text(errors='replace')[-3000:]}")
        return line

    # --- programs ----------------------------------------------------------------------------

    @property
    def python(self) -> Path:
        """Return the interpreter that runs this."""
        return Path(sys.executable)

    def program(self, name: str) -> Path:
        """Return a program that was installed beside this interpreter."""
        return self.python.with_name(name)

    def environ(self, cache: Path) -> dict[str, str]:
        """Return the variables of one side: everything that is kept goes below `cache`."""
        return {
            "REESPACK_CACHE": str(cache),
            "REESPACK_CONFIG": "",
            "REESPACK_SITE_CONFIG": "",
            "REESPACK_CHANNEL_ALIAS": f"conda-forge={self.channel()}",
            "UV_CACHE_DIR": str(cache / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "XDG_CACHE_HOME": str(cache / "xdg"),
        }

    def run(self, *words: str | Path, environ: dict[str, str] | None = None) -> None:
        """Run a command that is not measured; raise FailedRunError."""
        with self.log.open("wb") as log:
            ended = subprocess.run(
                [str(word) for word in words],
                check=False,
                env={**os.environ, **(environ or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if ended.returncode != 0:
            said = self.log.read_text(errors="replace")[-3000:]
            raise FailedRunError(f"exit code {ended.returncode}: {words}\n{said}")

    # --- input -------------------------------------------------------------------------------

    @cache  # noqa: B019 - there is one ground
    def channel(self) -> Path:
        """Return the channel; REESPACK_BENCH_CHANNEL names one that is ready instead."""
        given = os.environ.get("REESPACK_BENCH_CHANNEL")
        if given:
            return Path(given).absolute()
        target = self.folder / "channel"
        self._say("making the channel (minutes at first, seconds when it is there)")
        words = (self.program("reespack"), "channel", "create", target)
        self.run(*words, *LARGE.packages, *EXTRAS, "jupyterhub")
        return target

    @cache  # noqa: B019 - there is one ground
    def python_version(self) -> str:
        """Return the `X.Y` of the environments' Python: this one's if the channel has it."""
        found = [path.name.split("-")[1] for path in self.channel().glob("*/python-[0-9]*.conda")]
        versions = {tuple(map(int, version.split(".")[:2])) for version in found}
        own = sys.version_info[:2]
        major, minor = own if own in versions else max(versions)
        return f"{major}.{minor}"

    @property
    def platform(self) -> str:
        """Return this machine's conda platform."""
        from reespack.pipeline import host_platform

        return host_platform()

    def repository(self, size: Size, *, name: str | None = None, extra: str | None = None) -> Path:
        """Return a repository for reespack, with `extra` as one more requirement."""
        folder = self.work / "repositories" / (name or size.name)
        folder.mkdir(parents=True, exist_ok=True)
        pip = ["  - pip:", *(f"    - {package}" for package in _PIP)]
        text = self._environment("conda-forge", size, extra) + "\n".join(pip) + "\n"
        (folder / "environment.yml").write_text(text)
        return folder

    def peer_input(self, size: Size, *, name: str | None = None, extra: str | None = None) -> Path:
        """Return the same for the peer, whose conda-lock cannot lock pip's half here."""
        folder = self.work / "peer-input" / (name or size.name)
        folder.mkdir(parents=True, exist_ok=True)
        channel = f"file://{self.channel()}"
        (folder / "environment.yml").write_text(self._environment(channel, size, extra))
        (folder / "requirements.txt").write_text("\n".join(_PIP) + "\n")
        (folder / "virtual-packages.yml").write_text(self._virtual_packages())
        conda = folder / "conda"
        solver = PROGRAMS / "rattler_conda.py"
        conda.write_text(f'#!/bin/sh\nexec {self.python} {solver} "$@"\n')
        conda.chmod(0o755)
        return folder

    def _environment(self, channel: str, size: Size, extra: str | None) -> str:
        packages = [f"python ={self.python_version()}", "pip", *size.packages]
        lines = [f"  - {package}" for package in (*packages, *([extra] if extra else []))]
        return "\n".join((f"channels: ['{channel}']", "dependencies:", *lines)) + "\n"

    def _virtual_packages(self) -> str:
        """Return this machine's glibc: conda-lock assumes an older one than wheels may need."""
        libc = (os.confstr("CS_GNU_LIBC_VERSION") or "glibc 2.28").split()[-1]
        packages = {"__glibc": libc, "__linux": "5.10", "__unix": "0"}
        lines = [f'      {name}: "{version}"' for name, version in packages.items()]
        return f"subdirs:\n  {self.platform}:\n    packages:\n" + "\n".join(lines) + "\n"

    @cache  # noqa: B019 - there is one ground
    def installed(self) -> Path:
        """Return a folder with JupyterHub and its proxy, which the cluster tests use as well."""
        target = TOP / os.environ.get("CLUSTER", ".cache/cluster")
        environ = {"SET_UP": "proxy venv", "UV": str(self.program("uv")), "PYTHON": sys.executable}
        self.run(TOP / "tests" / "cluster" / "set-up", target, environ=environ)
        return target

    # --- what either side makes --------------------------------------------------------------

    def build(self, size: Size) -> Path:
        """Return the folder of a reespack build: `cache/` as it left it, and `dist/`."""
        return self._once("reespack", size, self._build)

    def peer_build(self, size: Size) -> Path:
        """Return the folder of the peer's: `cache/`, `env/`, `env.tar.gz` and `env.tar.zst`."""
        return self._once("peer", size, self._peer_build)

    def _once(self, kind: str, size: Size, make: Callable[[Path, Size], None]) -> Path:
        folder = self.work / f"{kind}-{size.name}"
        if (kind, size.name) not in self._ready:
            self._say(f"preparing the {size.name} environment, {kind}'s way")
            remove(folder)
            folder.mkdir()
            make(folder, size)
            self._ready[kind, size.name] = folder
        return folder

    def _build(self, folder: Path, size: Size) -> None:
        command = self.build_command(self.repository(size), folder / "dist")
        self.run(*command, environ=self.environ(folder / "cache"))

    def _peer_build(self, folder: Path, size: Size) -> None:
        command = self.peer_command(self.peer_input(size), folder, folder / "cache")
        self.run(*command, environ=self.environ(folder / "cache"))
        zst = ("--quiet", "--prefix", folder / "env", "--output", folder / "env.tar.zst")
        self.run(self.program("conda-pack"), *zst)

    def build_command(self, repository: Path, output: Path) -> Sequence[str | Path]:
        """Return the command line of a build."""
        return (self.program("reespack"), "build", repository, "--output", output)

    def peer_command(self, given: Path, work: Path, cache: Path) -> Sequence[str | Path]:
        """Return the command line of the peer's."""
        script = PROGRAMS / "peer_build.sh"
        return (script, self.python, given, work, cache / "packages", self.platform)

    def archive(self, size: Size) -> Path:
        """Return reespack's archive."""
        (archive,) = (self.build(size) / "dist").glob("*.tar.zst")
        return archive

    def unpacked(self, size: Size) -> Path:
        """Return an environment as `reespack unpack` leaves it, without write permission."""
        return self._once("reespack-unpacked", size, self._unpack)

    def peer_unpacked(self, size: Size) -> Path:
        """Return one as tar and conda-unpack leave it, without write permission."""
        return self._once("peer-unpacked", size, self._peer_unpack)

    def _unpack(self, folder: Path, size: Size) -> None:
        self.run(*self.unpack_command(size, folder / "env"))
        self.run("chmod", "-R", "a-w", folder / "env")

    def _peer_unpack(self, folder: Path, size: Size) -> None:
        (folder / "env").mkdir()
        self.run(*self.peer_unpack_command(self.peer_build(size) / "env.tar.gz", folder / "env"))
        self.run("chmod", "-R", "a-w", folder / "env")

    def unpack_command(self, size: Size, target: Path) -> Sequence[str | Path]:
        """Return the command line that unpacks reespack's archive."""
        return (self.program("reespack"), "unpack", self.archive(size), target)

    def peer_unpack_command(self, archive: Path, target: Path) -> Sequence[str | Path]:
        """Return the one for conda-pack's: tar into a folder that is there, and conda-unpack."""
        how = "-xzf" if archive.suffix == ".gz" else "-I zstd -xf"
        text = f'tar {how} "$1" -C "$2" && "$2/bin/python" "$2/bin/conda-unpack"'
        return ("sh", "-c", text, "sh", archive, target)

    def describe(self) -> dict[str, dict[str, int]]:
        """Return packages, files and bytes of the environments that were made."""
        found: dict[str, dict[str, int]] = {}
        for kind, name in self._ready:
            environment = self.work / f"{kind}-{name}" / "env"
            if name not in found and environment.is_dir():
                files = [
                    path.lstat()
                    for path in environment.rglob("*")
                    if path.is_symlink() or not path.is_dir()
                ]
                found[name] = {
                    "conda packages": len(list(environment.glob("conda-meta/*.json"))),
                    "files": len(files),
                    "bytes": sum(file.st_size for file in files),
                }
        return found

    # --- caches ------------------------------------------------------------------------------

    def snapshot(self, side: str, size: Size, name: str) -> Path:
        """Return a copy of a build's cache, of hard links: to change it and keep the first."""
        target = self.work / name
        built = self.build(size) if side == "reespack" else self.peer_build(size)
        self.run("cp", "-al", built / "cache", target)
        return target

    @staticmethod
    def forget_all_but_packages(cache: Path) -> None:
        """Leave packages, wheels and bytecode in a cache, and nothing that was concluded."""
        remove(*(cache / name for name in _NO_PACKAGES))
        remove(*(cache / "uv").glob("simple-*"))  # the index's pages
        shutil.rmtree(cache / "xdg", ignore_errors=True)
