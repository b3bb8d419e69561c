"""A store whose processes are killed before every single call that changes a file of it."""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reespack.files import sha256_file, walk
from reespack.installing import collect, install, open_stores
from reespack.store_settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.installing import Stores
    from reespack.products import Archive

__all__ = ["REESPACK", "Killer", "Lab", "compile_library", "contents"]

REESPACK = (sys.executable, "-m", "reespack")
_MARKER = "share/reespack/unpacked"
"""Each way of unpacking says there which file it unpacked."""
_ENOUGH = 1000
"""No deed here has as many points: something goes round in circles."""


class Lab(NamedTuple):
    """An archive, a store, and a folder for everything else."""

    archive: Archive
    store: Path
    folder: Path

    @property
    def run_script(self) -> Path:
        return self.archive.path.with_name("small.run.sh")

    @property
    def environment(self) -> Path:
        return self.store / self.archive.sha256[:16]

    def environ(self, **more: str) -> dict[str, str]:
        return {"REESPACK_STORE": str(self.store), "HOME": str(self.folder), **more}

    def words(self, way: str, *command: str) -> list[str]:
        ways = {
            "python": [*REESPACK, "exec", str(self.archive.path), "--"],
            "sh": ["/bin/sh", str(self.run_script)],
        }
        return [*ways[way], *command]

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            env=self.environ(**more),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def collect(self) -> list[str]:
        """Remove all that nobody uses, and return the names of what is left."""
        collect(self.store, wanted=lambda _: False)
        return sorted(path.name for path in self.store.iterdir())

    def stores(self) -> Stores:
        return open_stores(StoreSettings(store=self.store))

    def whole(self) -> dict[str, str]:
        """Return what an environment has in it when nobody is killed; leave the store empty."""
        self.run(*self.words("python", "true"))
        found = contents(self.environment)
        assert self.collect() == []
        return found


def contents(folder: Path) -> dict[str, str]:
    """Return everything in a folder, by its path; files by their mode and sum."""
    found = {}
    for path, entry in walk(folder):
        if entry.is_symlink():
            found[path] = str(Path(entry.path).readlink())
        elif entry.is_file():
            mode = entry.stat().st_mode & 0o777
            found[path] = f"{mode:o} {sha256_file(Path(entry.path))}"
    return found


def compile_library(source: Path, folder: Path) -> Path:
    """Compile what LD_PRELOAD loads; it needs a C compiler."""
    library = folder / f"{source.stem}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class Killer(NamedTuple):
    """Kills what it starts before the Nth call that changes a file of the store.

    `library` is kill_at.c; `whole` is what Lab.whole returns. Its iterators stop where a deed comes
    to its end, and yield for every point what is wrong after it, or None.
    """

    lab: Lab
    library: Path
    whole: dict[str, str]

    def while_unpacking(self, way: str, next_way: str) -> Iterator[str | None]:
        """Kill who unpacks. By turns the other implementation comes next, or the same one."""
        for at in range(1, _ENOUGH):
            if not self.run(at, *self.lab.words(way, "true")):
                return
            yield self.problem(next_way if at % 2 else way)
        raise AssertionError("there is no end to it")

    def while_removing(self) -> Iterator[str | None]:
        """Kill `reespack gc`."""
        for at in range(1, _ENOUGH):
            install(self.lab.archive.path, stores=self.lab.stores()).lease.release()
            if not self.run(at, *REESPACK, "gc", "--quiet"):
                return
            yield self.problem("sh" if at % 2 else "python")
        raise AssertionError("there is no end to it")

    def twice_in_a_row(self) -> Iterator[str | None]:
        """Kill who unpacks, and who comes next; yield for both."""
        for first in (6, 12, 30):
            for at in range(1, 40, 3):
                ways = ("python", "sh") if at % 2 else ("sh", "python")
                self.run(first, *self.lab.words(ways[0], "true"))
                yield self._half_environment()
                self.run(at, *self.lab.words(ways[1], "true"))
                yield self.problem(ways[0])

    def run(self, at: int, *words: str) -> bool:
        """Run a command; say whether it was killed."""
        counter = self.lab.folder / "counter"
        counter.write_bytes(struct.pack("i", 0))
        status, _, err = self.lab.run(
            *words,
            LD_PRELOAD=str(self.library),
            KILL_AT=str(at),
            KILL_COUNTER=str(counter),
            KILL_BELOW=str(self.lab.store),
        )
        assert status in {0, -signal.SIGKILL}, err
        return status != 0

    def problem(self, next_way: str) -> str | None:
        """Return what is wrong after a kill, or after who comes next; leave the store empty."""
        found = self._half_environment() or self._not_recovered(next_way)
        left = self.lab.collect()
        if left:
            found = found or f"after gc there is still {left}"
            shutil.rmtree(self.lab.store)  # lest the next point be blamed for it
            self.lab.store.mkdir(mode=0o700)
        return found

    def _half_environment(self) -> str | None:
        environment = self.lab.environment
        if environment.exists() and contents(environment).keys() != self.whole.keys():
            return "half an environment is to be seen"
        return None

    def _not_recovered(self, way: str) -> str | None:
        status, out, err = self.lab.run(*self.lab.words(way, "where"))
        if (status, out) != (0, f"{self.lab.environment} 1\n"):
            return f"the next one ended with {status}: {out}{err}"
        if {**contents(self.lab.environment), _MARKER: ""} != {**self.whole, _MARKER: ""}:
            return "the environment is not the one that was packed"
        return None
