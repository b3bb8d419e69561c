"""Fetching conda packages where rattler cannot: into a folder without flock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reespack.channels import client
from reespack.errors import HashMismatchError, InstallError
from reespack.prefix.package_cache import local_archive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reespack.channels import ChannelSettings
    from reespack.prefix.package_cache import CachedPackages
    from reespack.products import LockedConda
    from reespack.progress import Progress

__all__ = ["fetch"]

AT_ONCE = 8


def fetch(  # noqa: PLR0913 - the collaborators of a phase
    missing: Sequence[LockedConda],
    sources: Mapping[str, str],
    packages: CachedPackages,
    *,
    scratch: Path,
    channels: ChannelSettings,
    progress: Progress,
) -> None:
    """Download, check and unpack packages into the cache, each by one rename from `scratch`.

    The caller holds the cache's lock. Raises InstallError and HashMismatchError.
    """
    from rattler.package_streaming import download_and_extract, extract

    async def one(package: LockedConda) -> None:
        url, folder = sources[package.url], scratch / packages.unpacked(package).name
        async with limit:
            here = local_archive(package, url)
            try:
                if here is not None:
                    await asyncio.to_thread(extract, here, folder)
                else:
                    got = await download_and_extract(reach, url, folder)
                    _check(package, *got)
            except InstallError:
                raise
            except Exception as error:  # rattler raises its own classes, and OSError
                raise InstallError(
                    f"package {package.name} cannot be fetched: {str(error).splitlines()[0]}",
                    hint="make room, or check the network and the channel's alias",
                    detail=str(error),
                ) from error
        folder.rename(packages.unpacked(package))
        packages.confirm(package)
        advance(1)

    async def every() -> None:
        await asyncio.gather(*map(one, missing))

    limit = asyncio.Semaphore(AT_ONCE)
    reach = client(channels)
    with progress.task("fetching conda packages", total=len(missing)) as advance:
        asyncio.run(every())


def _check(package: LockedConda, sha256: bytes, md5: bytes) -> None:
    for name, expected, got in (("sha256", package.sha256, sha256), ("md5", package.md5, md5)):
        if expected and expected != got.hex():
            raise HashMismatchError(
                f"package {package.name} is not the one that was locked: "
                f"expected {name} {expected}, got {got.hex()}",
                hint="lock again if the channel's package was rebuilt",
            )
