"""A user's machine, as the end-to-end tests see it: the command line, a cache, a channel."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Site(NamedTuple):
    """Folders for the cache and for what is built, and where channels are."""

    folder: Path
    channel: Path
    python: str

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "reespack", *map(str, words)]

    def environ(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "REESPACK_CACHE": str(self.cache),
            "REESPACK_DEFAULT_PYTHON": self.python,
            "REESPACK_CHANNEL_ALIAS": f"conda-forge={self.channel}",
            **more,
        }

    def run(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, by way of another one when `within` has its words."""
        return subprocess.run(
            [*within, *self.command(*words)],
            check=False,
            capture_output=True,
            text=True,
            env=self.environ(**(env or {})),
            cwd=self.folder,
        )

    def succeed(
        self, *words: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        ended = self.run(*words, env=env)
        assert ended.returncode == 0, ended.stderr
        return ended

    def fail(
        self,
        exit_code: int,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> str:
        """Run a command that must fail as every command does; return what it said."""
        ended = self.run(*words, env=env, within=within)
        assert ended.returncode == exit_code, ended.stderr
        well_said(ended.stderr)
        assert self.builds() == []
        return ended.stderr

    def builds(self) -> list[Path]:
        """Return what is left of builds that are under way, or were."""
        folder = self.cache / "builds"
        return sorted(folder.iterdir()) if folder.is_dir() else []


def well_said(said: str) -> None:
    """Hold an error to its form: one line, a hint, and no traceback."""
    lines = said.splitlines()
    assert "Traceback" not in said, said
    assert "internal error" not in said, said
    assert len([line for line in lines if line.startswith("error: ")]) == 1, said
    assert len([line for line in lines if line.startswith("hint: ")]) == 1, said


def repository(folder: Path, **files: str) -> Path:
    """Make a repository; `__` in a name is a dot, and what begins with `#!` is executable."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(content)
        path.chmod(0o755 if content.startswith("#!") else 0o644)
    return folder


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder, with what it holds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
