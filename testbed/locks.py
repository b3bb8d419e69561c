"""What `lock` chooses from: a channel, an index and a repository of a few small packages."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

from reespack.channels import ChannelSettings
from reespack.locking import lock
from reespack.model import (
    CondaRequirement,
    EnvironmentSpec,
    Origin,
    PipRequirement,
    Repository,
)
from reespack.package_index import PackageIndex

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reespack.products import Lock, LockedPip

__all__ = ["LINUX", "World", "conda_of", "pip_of", "spec"]

LINUX = "linux-64"


class World:
    """A channel, an index and a repository below one folder."""

    def __init__(self, root: Path) -> None:
        self.channel, self.wheels, self.tree = root / "channel", root / "wheels", root / "repo"
        for folder in (self.channel / "noarch", self.channel / LINUX, self.wheels, self.tree):
            folder.mkdir(parents=True)
        self.settings = ChannelSettings(cache=root / "cache", alias=(("forge", str(self.channel)),))
        self.index = PackageIndex(
            find_links=(str(self.wheels),), no_index=True, cache=root / "uv", offline=True
        )
        self.repository = Repository(
            root=self.tree, top=self.tree, name="repo", source=str(self.tree)
        )

    def conda(
        self,
        name: str,
        version: str,
        *depends: str,
        provides: str = "",
        subdir: str = "noarch",
    ) -> None:
        """Add a conda package, with a distribution `name==version` of Python when it says so."""
        stem = f"{name}-{version}-0"
        index = {
            "name": name,
            "version": version,
            "build": "0",
            "build_number": 0,
            "subdir": subdir,
            "depends": list(depends),
            **({"noarch": "generic"} if subdir == "noarch" else {}),
        }
        files = {"info/index.json": json.dumps(index)}
        if provides:
            distribution, _, extra = provides.partition(";")
            folder = f"site-packages/{distribution.replace('==', '-')}.dist-info"
            files[f"{folder}/METADATA"] = f"Metadata-Version: 2.1\nName: x\n{extra}"
        paths = [{"_path": p, "path_type": "hardlink"} for p in files if not p.startswith("info")]
        files["info/paths.json"] = json.dumps({"paths": paths, "paths_version": 1})
        with tarfile.open(self.channel / subdir / f"{stem}.tar.bz2", "w:bz2") as tar:
            for path, text in files.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))

    def done(self) -> World:
        from rattler.index import index_fs

        asyncio.run(index_fs(self.channel))
        return self

    def wheel(self, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> Path:
        path = self.wheels / f"{name}-{version}-{tag}.whl"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        with zipfile.ZipFile(path, "w") as file:
            info = f"{name}-{version}.dist-info"
            file.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
            )
            file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
            file.writestr(f"{info}/RECORD", "")
        return path

    def lock(self, *specs: EnvironmentSpec, **more: Any) -> Lock:  # noqa: ANN401 - as `lock`
        return lock(
            specs,
            repository=self.repository,
            channels=self.settings,
            index=self.index,
            **more,
        )


def spec(
    *conda: str,
    pip: Iterable[str | PipRequirement] = (),
    platform: str = LINUX,
    **more: Any,  # noqa: ANN401 - fields of the spec
) -> EnvironmentSpec:
    return EnvironmentSpec(
        name="repo",
        platform=platform,
        channels=more.pop("channels", ("forge",)),
        conda=tuple(
            CondaRequirement(
                spec=text,
                name=text.rpartition("::")[2].split(" ")[0],
                origin=Origin(file="environment.yml", line=line),
            )
            for line, text in enumerate(conda, start=3)
        ),
        pip=tuple(
            one
            if isinstance(one, PipRequirement)
            else PipRequirement(text=one, origin=Origin(file="requirements.txt", line=line))
            for line, one in enumerate(pip, start=1)
        ),
        **more,
    )


def conda_of(made: Lock, platform: str = LINUX) -> dict[str, str]:
    chosen = made.for_platform(platform)
    assert chosen is not None
    return {package.name: package.version for package in chosen.conda}


def pip_of(made: Lock, platform: str = LINUX) -> dict[str, LockedPip]:
    chosen = made.for_platform(platform)
    assert chosen is not None
    return {package.name: package for package in chosen.pip}
