"""Explicit lockfiles (`@EXPLICIT`, one URL a line), as `conda list --explicit` writes them.

https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from reespack.errors import LockError
from reespack.locking.reading import as_url, kind_of, read_lock, stand_in_hash
from reespack.model import Note, Origin
from reespack.products import LockedConda, LockedPip
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rattler import Gateway, RepoDataRecord
    from rattler.networking import Client

    from reespack.channels import ChannelSettings
    from reespack.products import Lock

__all__ = ["read_explicit"]

_PACKAGE = re.compile(r"^(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)\.(?:conda|tar\.bz2)$")
_MD5, _SHA256 = 32, 64


class _Line(Value):
    """A package in an explicit file: its URL and hash, and where it stands."""

    url: str
    md5: str | None
    sha256: str | None
    number: int

    @property
    def parts(self) -> tuple[str, str, str]:
        """Name, version and build, from the file name."""
        match = _PACKAGE.match(unquote(urlsplit(self.url).path).rpartition("/")[2])
        if match is None:
            raise LockError(f"line {self.number}: {self.url} is not a conda package")
        return match["name"], match["version"], match["build"]


def read_explicit(text: str, *, name: str, platform: str, channels: ChannelSettings) -> Lock:
    """Make a lock of an explicit file; `# pip` lines, as conda-lock renders them, are honoured.

    What the file does not say (dependencies, and the other hash) comes from the channel's
    repodata or the package itself. Raises LockError, naming file and line, for what is not the
    URL of a conda package, for a package of another platform, and for one that cannot be read.
    """
    lines = _lines(text, name)
    said = re.search(r"^#\s*platform:\s*(\S+)", text, re.MULTILINE)
    if said and said[1] != platform:
        raise LockError(
            f"{name}: is for {said[1]}, not for {platform}",
            hint=f"commit one for {platform}, or build with --update-lock",
        )
    for line in lines:
        subdir = urlsplit(line.url).path.split("/")[-2:-1]
        if subdir and subdir[0] not in {platform, "noarch"}:
            raise LockError(f"{name}:{line.number}: {line.url} is not for {platform}")
    packages = asyncio.run(_complete(lines, name, platform, channels))
    written = _text(packages, _pip_lines(text, name), platform)
    unsure = [line for line in lines if line.md5 is None and line.sha256 is None]
    notes: tuple[Note, ...] = ()
    if unsure:
        notes = (
            Note(
                message=f"{name}: {len(unsure)} of {len(lines)} packages have no hash; they are "
                "taken as the channel serves them today",
                hint="write it with `conda list --explicit --md5` (or --sha256)",
                origin=Origin(file=name, line=unsure[0].number),
            ),
        )
    return replace(read_lock(written, name=name), notes=notes)


def _lines(text: str, name: str) -> list[_Line]:
    if "@EXPLICIT" not in text.split():
        raise LockError(f"{name}: has no line @EXPLICIT")
    found = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith(("#", "@EXPLICIT")):
            continue
        url, _, digest = line.partition("#")
        if not re.match(r"[a-z][a-z0-9+]*://", url):
            raise LockError(
                f"{name}:{number}: {line!r} is not a URL",
                hint="an explicit file has the full URL of a package on each line",
            )
        digest = re.sub(r"^(md5|sha256)[:=]", "", digest.strip().lower())
        if digest and (len(digest) not in {_MD5, _SHA256} or re.search(r"[^0-9a-f]", digest)):
            raise LockError(f"{name}:{number}: #{digest} is neither an md5 nor a sha256 sum")
        one = _Line(
            url=url.strip(),
            md5=digest if len(digest) == _MD5 else None,
            sha256=digest if len(digest) == _SHA256 else None,
            number=number,
        )
        try:
            one.parts  # noqa: B018 - for its error
        except LockError as error:
            raise LockError(f"{name}:{number}: {url} is not a conda package's URL") from error
        found.append(one)
    return found


def _pip_lines(text: str, name: str) -> list[LockedPip]:
    """Read `# pip NAME @ URL#sha256=...`."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("# pip "):
            continue
        match = re.match(r"# pip (\S+) @ ([^#\s]+)(?:#sha256=([0-9a-f]{64}))?\s*$", line)
        if match is None:
            raise LockError(f"{name}:{number}: not in the form `# pip NAME @ URL#sha256=HASH`")
        url = re.sub(r"^file:(?=\.)", "", match[2])
        kind = kind_of(url)
        stem = unquote(urlsplit(url).path).rpartition("/")[2]
        version = stem.split("-")[1] if kind == "wheel" else "0"
        found.append(
            LockedPip(
                name=canonicalize_name(match[1]),
                version=version if kind != "sdist" else _sdist_version(stem),
                url=url,
                kind=kind,
                sha256=match[3],
            )
        )
    return found


def _sdist_version(file_name: str) -> str:
    stem = re.sub(r"\.(tar\.(gz|bz2|xz)|zip|tgz)$", "", file_name)
    return stem.rpartition("-")[2]


# --- what the file does not say ----------------------------------------------------------------


async def _complete(
    lines: Sequence[_Line], name: str, platform: str, channels: ChannelSettings
) -> list[LockedConda]:
    from reespack.channels import client, gateway

    ask: Gateway = gateway(channels)
    get: Client = client(channels)
    limit = asyncio.Semaphore(16)

    async def one(line: _Line) -> LockedConda:
        async with limit:
            return await _package(line, name, platform, ask, get)

    return list(await asyncio.gather(*(one(line) for line in lines)))


async def _package(
    line: _Line, file: str, platform: str, gateway: Gateway, client: Client
) -> LockedConda:
    name, version, build = line.parts
    record = await _record(line, platform, gateway)
    md5, sha256 = line.md5, line.sha256
    depends: tuple[str, ...] = ()
    if record is not None:
        theirs = (record.md5 or b"").hex() or None, (record.sha256 or b"").hex() or None
        for ours, their in zip((md5, sha256), theirs, strict=True):
            if ours and their and ours != their:
                raise LockError(
                    f"{file}:{line.number}: the channel has {name} {version} with the hash "
                    f"{their}, not {ours}",
                    hint="the package was replaced after the file was written; lock again",
                )
        md5, sha256 = md5 or theirs[0], sha256 or theirs[1]
        depends = tuple(record.depends)
    if md5 is None or record is None:
        content_md5, depends = await _look_inside(line, file, client, depends, need_md5=md5 is None)
        md5 = md5 or content_md5
    return LockedConda(
        name=name,
        version=version,
        build=build,
        url=line.url,
        sha256=sha256,
        md5=md5,
        depends=depends,
    )


async def _record(line: _Line, platform: str, gateway: Gateway) -> RepoDataRecord | None:
    """Return the package's repodata, None when its channel cannot be asked or has it no more."""
    channel, subdir, _ = line.url.rsplit("/", 2)
    name = line.parts[0]
    try:
        found = await gateway.query(
            [channel],
            ["noarch" if subdir == "noarch" else platform],  # type: ignore[list-item]
            [name],
            recursive=False,
        )
    except Exception:  # noqa: BLE001 - a folder of packages is no channel; the package will do
        return None
    return next((r for several in found for r in several if r.url == line.url), None)


async def _look_inside(
    line: _Line, file: str, client: Client, depends: tuple[str, ...], *, need_md5: bool
) -> tuple[str | None, tuple[str, ...]]:
    from reespack.locking.provided import open_archive

    try:
        if not depends:
            archive = await open_archive(line.url, client)
            depends = tuple((await archive.index_json()).depends)
        md5 = await _md5(line.url, client) if need_md5 else None
    except Exception as error:
        raise LockError(
            f"{file}:{line.number}: {line.url} cannot be read", detail=str(error)
        ) from error
    return md5, depends


async def _md5(url: str, client: Client) -> str:
    from rattler.package_streaming import download_bytes

    if url.startswith("file:"):
        # Nothing else is under way that would have to wait for the disk.
        content = Path(unquote(urlsplit(url).path)).read_bytes()  # noqa: ASYNC240
    else:
        content = await download_bytes(client, url)
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# --- the lock of it ----------------------------------------------------------------------------


def _text(packages: Sequence[LockedConda], pip: Sequence[LockedPip], platform: str) -> str:
    """Return a v1 lockfile with these packages; conda-lock would have nothing to add."""
    import yaml

    from reespack.locking.document import HEADER, dependencies_of

    channels = dict.fromkeys(package.url.rsplit("/", 2)[0] for package in packages)
    digest = hashlib.sha256(
        "\n".join(sorted([p.url for p in packages] + [p.url for p in pip])).encode()
    ).hexdigest()
    entries: list[dict[str, object]] = [
        {
            "name": package.name,
            "version": package.version,
            "manager": "conda",
            "platform": platform,
            "dependencies": dependencies_of(package.depends),
            "url": package.url,
            "hash": {
                key: value
                for key, value in (("md5", package.md5), ("sha256", package.sha256))
                if value
            },
            "build": package.build,
            "category": "main",
            "optional": False,
        }
        for package in sorted(packages, key=lambda package: package.name)
    ]
    entries += [
        {
            "name": one.name,
            "version": one.version,
            "manager": "pip",
            "platform": platform,
            "dependencies": {},
            "url": as_url(one),
            "hash": {"sha256": one.sha256 or stand_in_hash(one.url)},
            **({} if one.sha256 else {"source": {"type": "url", "url": as_url(one)}}),
            "category": "main",
            "optional": False,
        }
        for one in sorted(pip, key=lambda one: one.name)
    ]
    document = {
        "version": 1,
        "metadata": {
            "content_hash": {platform: digest},
            "channels": [{"url": url, "used_env_vars": []} for url in channels],
            "platforms": [platform],
            "sources": [],
        },
        "package": entries,
    }
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(document, Dumper=dumper, sort_keys=False)
    return HEADER + text
