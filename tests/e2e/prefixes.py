"""What the tests of prefixes make them from: locks, small conda packages, a folder to build in."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rattler
from rattler.index import index_fs

from reespack.channels import ChannelSettings
from reespack.files import sha256_file, walk
from reespack.model import ADDED, CondaRequirement, EnvironmentSpec, PipRequirement, Repository
from reespack.package_index import PackageIndex
from reespack.prefix import make_prefix
from reespack.products import LockedConda, LockedPip, PlatformLock, Prefix
from reespack.uv import run_uv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLATFORM = str(rattler.Subdir.current())
COMMIT_TIME = 1_700_000_000
PLACEHOLDER = "/" + "placeholder_" * 20
PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "mine"
version = "0.1"
"""


def conda_package(
    channel: Path, name: str, files: Mapping[str, bytes], *, depends: Sequence[str] = ()
) -> None:
    """Write a noarch package with these files into a channel; those below bin are executable."""
    index = {
        "name": name, "version": "1.0", "build": "0", "build_number": 0, "subdir": "noarch",
        "noarch": "generic", "depends": list(depends), "license": "MIT",
        "timestamp": 1_600_000_000_000,
    }  # fmt: skip
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
            **(
                {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
                if PLACEHOLDER.encode() in content
                else {}
            ),
        }
        for path, content in files.items()
    ]
    info = {"index": index, "paths": {"paths": paths, "paths_version": 1}, "about": {}}
    members = {f"info/{key}.json": json.dumps(value).encode() for key, value in info.items()}
    target = channel / "noarch" / f"{name}-1.0-0.tar.bz2"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:bz2") as archive:
        for path, content in {**members, **files}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755 if path.startswith("bin/") else 0o600
            archive.addfile(member, io.BytesIO(content))
    asyncio.run(index_fs(channel, force=True))


def solve(channels: Sequence[Path], specs: Sequence[str]) -> list[rattler.RepoDataRecord]:
    async def ask() -> list[rattler.RepoDataRecord]:
        return await rattler.solve(
            sources=[rattler.Channel(channel.as_uri()) for channel in channels],
            specs=list(specs),
            platforms=[PLATFORM, "noarch"],
            virtual_packages=rattler.VirtualPackage.detect(),
        )

    return asyncio.run(ask())


def locked(record: rattler.RepoDataRecord) -> LockedConda:
    assert record.sha256 is not None
    return LockedConda(
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        url=record.url,
        sha256=record.sha256.hex(),
        md5=record.md5.hex() if record.md5 else None,
        depends=tuple(record.depends),
    )


@functools.cache
def from_index(requirement: str, python: str, kind: str = "wheel") -> LockedPip:
    """Return the wheel or the sdist that the index has for `name==version`."""
    source = Path(os.environ["PYTEST_REQUIREMENTS"])
    source.write_text(requirement + "\n")
    done = run_uv(
        ["pip", "compile", "--no-deps", "--no-python-downloads", "--quiet", "--python-version",
         python, "--format", "pylock.toml", source],
        index=PackageIndex(),
    )  # fmt: skip
    assert done.ok, done.tail
    (package,) = tomllib.loads(done.stdout)["packages"]
    file = package["wheels"][0] if kind == "wheel" else package["sdist"]
    url = file.get("url") or Path(file["path"]).resolve().as_uri()
    return LockedPip(
        name=package["name"],
        version=package["version"],
        url=url,
        kind="wheel" if kind == "wheel" else "sdist",
        sha256=file["hashes"]["sha256"],
    )


class Bench:
    """A folder to build in, with a repository, and a cache that all tests share."""

    def __init__(self, folder: Path, channel: Path, cache: Path, python: str) -> None:
        self.folder = folder
        self.channel = channel
        self.handmade = folder / "handmade"
        self.cache = cache
        self.python = python
        self.top = folder / "repo"
        self.top.mkdir()
        self.path = folder / "env"

    def conda(self, *specs: str) -> tuple[LockedConda, ...]:
        channels = [self.channel, *([self.handmade] if self.handmade.exists() else [])]
        return tuple(locked(record) for record in solve(channels, specs))

    def with_python(self, *specs: str) -> tuple[LockedConda, ...]:
        return self.conda(f"python {self.python}.*", "pip", *specs)

    def write(self, path: str, content: str) -> None:
        (self.top / path).parent.mkdir(parents=True, exist_ok=True)
        (self.top / path).write_text(textwrap.dedent(content))

    def project(self, folder: str = "mine") -> None:
        self.write(f"{folder}/pyproject.toml", PYPROJECT)
        self.write(f"{folder}/mine.py", "answer = 42\n")

    def make(  # noqa: PLR0913 - each test says what matters to it
        self,
        conda: Sequence[LockedConda],
        pip: Sequence[LockedPip] = (),
        *,
        post_build: str | None = None,
        variables: tuple[tuple[str, str], ...] = (),
        requested: Sequence[str] = (),
        name: str = "env",
        offline: bool = False,
        cache: Path | None = None,
    ) -> Prefix:
        if post_build is not None:
            self.write("postBuild", post_build)
        cache = cache or self.cache
        self.path = self.folder / name
        spec = EnvironmentSpec(
            name="bench",
            platform=PLATFORM,
            channels=(self.channel.as_uri(),),
            conda=tuple(
                CondaRequirement(spec=one, name=one.split()[0], origin=ADDED) for one in requested
            ),
            pip=tuple(PipRequirement(text=one.name, name=one.name, origin=ADDED) for one in pip),
            variables=variables,
            post_build=None if post_build is None else "postBuild",
        )
        return make_prefix(
            spec,
            PlatformLock(platform=PLATFORM, conda=tuple(conda), pip=tuple(pip)),
            path=self.path,
            repository=Repository(
                root=self.top, top=self.top, name="repo", source="repo", commit_time=COMMIT_TIME
            ),
            channels=ChannelSettings(cache=cache, offline=offline),
            index=PackageIndex(cache=cache / "uv", offline=offline),
            cache=cache,
            timeout=300,
            threads=2,
        )

    def run(self, *args: str) -> str:
        """Run a program of the environment and return what it prints."""
        program = [str(self.path / "bin" / args[0]), *args[1:]]
        environ = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    @property
    def site(self) -> Path:
        return self.path / "lib" / f"python{self.python}" / "site-packages"

    def records(self) -> dict[str, dict[str, Any]]:
        files = (self.path / "conda-meta").glob("*.json")
        return {one["name"]: one for one in (json.loads(file.read_text()) for file in files)}


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    return {
        path: sha256_file(folder / path)
        for path, entry in walk(folder)
        if entry.is_file(follow_symlinks=False)
    }


def require_copies(root: Path) -> None:
    """Everybody may read it, and nothing is shared with the cache."""
    for path, entry in walk(root):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            assert stat.S_IMODE(status.st_mode) == 0o755, path
        elif stat.S_ISREG(status.st_mode):
            assert stat.S_IMODE(status.st_mode) in {0o644, 0o755}, path
            assert status.st_nlink == 1, path
