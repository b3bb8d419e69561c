"""The conda half of an environment: packages fetched, checked and laid out by rattler.

Two steps, since a lock does not say everything about a package. What the cache lacks is fetched
first; then each package's own `info/index.json` says whether it is noarch, what its license is and
so on, and the environment is made from complete records.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reespack.channels import (
    ChannelSettings,
    channel_url,
    client,
    display_name,
    without_credentials,
)
from reespack.errors import HashMismatchError, InstallError
from reespack.files import remove_tree
from reespack.prefix.package_cache import CachedPackages, local_archive, open_package_cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rattler import RepoDataRecord
    from rattler.config import Config

    from reespack.model import EnvironmentSpec, LockedConda, Note, PlatformLock
    from reespack.progress import Progress

__all__ = ["install_conda"]

_SCRATCH = ".fetch-"
_MISMATCH = re.compile(r"expected ([0-9a-f]+), got ([0-9a-f]+)")
_PACKAGE_FILE = re.compile(r"([^/\s']+?)(?:\.conda|\.tar\.bz2)\b")


def install_conda(  # noqa: PLR0913 - the collaborators of a phase
    spec: EnvironmentSpec,
    lock: PlatformLock,
    *,
    path: Path,
    channels: ChannelSettings,
    cache: Path,
    progress: Progress,
) -> tuple[Note, ...]:
    """Install the locked conda packages into the empty folder `path`.

    Files are copies of the cache's (or reflinks), never hard links: whatever pip, postBuild or a
    later phase writes into the environment cannot reach the cache. Post-link scripts run, as
    conda runs them: without, packages that finish their installation there would be broken.

    Raises InstallError, and HashMismatchError for a package that is not the locked one.
    """
    packages, notes = open_package_cache(cache)
    sources = {package.url: _source(package.url, channels) for package in lock.conda}
    with packages.locked():
        missing = [package for package in lock.conda if not packages.holds(package)]
        if missing:
            _fetch(
                missing,
                sources=sources,
                lock=lock,
                packages=packages,
                channels=channels,
                progress=progress,
            )
        records = [_record(package, packages) for package in lock.conda]
        _link(records, spec, lock, path, packages=packages, channels=channels, progress=progress)
    # rattler marks the environment as a cache, which tar and backups would then leave out.
    (path / "CACHEDIR.TAG").unlink(missing_ok=True)
    return notes


def _source(url: str, channels: ChannelSettings) -> str:
    """Return where to get a package: an alias given for its channel counts for locked URLs, too."""
    if not channels.alias:
        return url
    channel, subdir, file = url.rsplit("/", 2)
    name = display_name(channel, ChannelSettings(cache=channels.cache))
    if name not in dict(channels.alias):
        return url
    return f"{channel_url(name, channels)}/{subdir}/{file}"


def _fetch(  # noqa: PLR0913 - see install_conda
    missing: Sequence[LockedConda],
    *,
    sources: dict[str, str],
    lock: PlatformLock,
    packages: CachedPackages,
    channels: ChannelSettings,
    progress: Progress,
) -> None:
    """Fetch, check and unpack packages into the cache.

    rattler fills its cache only while it installs, so they go into a folder that is thrown away,
    which hard links make cheap. Python goes with them: no `noarch: python` package does without.
    """
    from rattler import Subdir
    from rattler.install import install

    from reespack.prefix.reporters import Fetching

    remote = [
        package for package in missing if local_archive(package, sources[package.url]) is None
    ]
    if remote and channels.offline:
        names = ", ".join(sorted(package.name for package in remote))
        raise InstallError(
            f"offline, and not in the package cache: {names}",
            hint="build once with the network, or give a local channel for them",
        )
    for package in missing:
        packages.forget(package)
    for left in packages.folder.glob(
        f"{_SCRATCH}*"
    ):  # of a build that was killed: we have the lock
        remove_tree(left)
    python = [one for one in lock.conda if one.name == "python" and one not in missing]
    records = [_bare_record(package, sources[package.url]) for package in (*missing, *python)]

    with contextlib.ExitStack() as tasks, _thrown_away(packages.folder) as scratch:
        # Its protocol's methods have empty bodies, which mypy takes for abstract.
        reporter = Fetching(  # type: ignore[abstract]
            packages=tasks.enter_context(
                progress.task("fetching conda packages", total=len(missing))
            ),
            received=tasks.enter_context(progress.task("downloading", unit="bytes")),
        )
        work = install(
            records,
            scratch,
            package_cache=_rattler_cache(packages),
            platform=Subdir(lock.platform),
            client=client(channels),
            config=_config(copy=False),
            reporter=reporter,
        )
        _run(work, missing, "fetched")
    for package in missing:
        packages.confirm(package)


@contextlib.contextmanager
def _thrown_away(parent: Path) -> Iterator[Path]:
    """Yield a new folder below `parent`, removed afterwards as far as it can be.

    When one package fails, rattler's threads go on with others for a moment; what they leave is
    removed by the next build.
    """
    folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=parent))
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            remove_tree(folder)


def _link(  # noqa: PLR0913 - see install_conda
    records: Sequence[RepoDataRecord],
    spec: EnvironmentSpec,
    lock: PlatformLock,
    path: Path,
    *,
    packages: CachedPackages,
    channels: ChannelSettings,
    progress: Progress,
) -> None:
    from rattler import MatchSpec, Subdir
    from rattler.install import install

    from reespack.prefix.reporters import Linking

    with progress.task("installing conda packages", total=len(records)) as advance:
        reporter = Linking(advance)  # type: ignore[abstract]  # see above
        work = install(
            list(records),
            path,
            package_cache=_rattler_cache(packages),
            platform=Subdir(lock.platform),
            client=client(channels),
            config=_config(copy=True),
            execute_link_scripts=True,
            # The binding takes the inner objects here (py-rattler 0.28), unlike its signature.
            requested_specs=[MatchSpec(one.spec)._match_spec for one in spec.conda],  # noqa: SLF001
            reporter=reporter,
        )
        _run(work, lock.conda, "installed")
    if reporter.failed:
        raise InstallError(
            f"the post-link script of {', '.join(reporter.failed)} failed",
            hint="run with -v to see its output; conda would refuse the package likewise",
        )


def _rattler_cache(packages: CachedPackages) -> Any:  # noqa: ANN401 - rattler is imported lazily
    from rattler.package_cache import PackageCache

    return PackageCache(packages.folder)


def _config(*, copy: bool) -> Config:
    from rattler.config import Config

    config = Config()
    config.set("allow-ref-links", "true")
    if copy:
        config.set("allow-hard-links", "false")
    return config


# --- records -----------------------------------------------------------------------------------


def _bare_record(package: LockedConda, url: str) -> RepoDataRecord:
    """Return a record that is enough to fetch a package."""
    from rattler import PackageRecord, RepoDataRecord
    from rattler.package import BuildString

    record = PackageRecord(
        name=package.name,
        version=package.version,
        build=BuildString(package.build),
        build_number=0,
        subdir=url.rsplit("/", 2)[1],
        noarch="generic",
        sha256=bytes.fromhex(package.sha256) if package.sha256 else None,
        md5=bytes.fromhex(package.md5) if package.md5 else None,
    )
    return RepoDataRecord(record, url.rsplit("/", 1)[1], url, url.rsplit("/", 2)[0] + "/")


def _record(package: LockedConda, packages: CachedPackages) -> RepoDataRecord:
    """Return the whole record of a cached package.

    `depends` are the lock's, which a channel may have corrected since the package was made.
    """
    from rattler import PackageRecord, RepoDataRecord

    index = packages.unpacked(package) / "info" / "index.json"
    record = PackageRecord.from_index_json(index, sha256=package.sha256, md5=package.md5)
    if package.depends:
        record.depends = list(package.depends)
    url = without_credentials(package.url)
    channel, subdir, file = url.rsplit("/", 2)
    record.subdir = subdir
    return RepoDataRecord(record, file, url, f"{channel}/")


# --- errors ------------------------------------------------------------------------------------


def _run(work: Any, packages: Sequence[LockedConda], doing: str) -> None:  # noqa: ANN401
    """Run one of rattler's coroutines to its end and translate what it raises."""
    from rattler.exceptions import InstallerError, IoError, LinkError, TransactionError

    async def wait() -> None:
        await work

    try:
        asyncio.run(wait())
    except (InstallerError, IoError, LinkError, TransactionError) as error:
        raise _translated(str(error), packages, doing) from error


def _translated(text: str, packages: Sequence[LockedConda], doing: str) -> InstallError:
    first, *causes = [line.removeprefix("Caused by: ") for line in text.splitlines()] or [text]
    named = _PACKAGE_FILE.search(first)
    package = next(
        (
            one.name
            for one in packages
            if named and urlsplit(one.url).path.rsplit("/", 1)[-1].startswith(named[1])
        ),
        None,
    )
    who = f"package {package}" if package else "the conda packages"
    if mismatch := _MISMATCH.search(text):
        return HashMismatchError(
            f"{who} is not the one that was locked: expected {mismatch[1]}, got {mismatch[2]}",
            hint="lock again if the channel's package was rebuilt",
            detail=text,
        )
    reason = causes[-1] if causes else first
    hint = None
    if "os error 28" in text:
        hint = "the disk is full: free some space, or set REESPACK_CACHE and TMPDIR elsewhere"
    elif "404" in reason:
        hint = "the channel does not have it any more: lock again"
    elif "Connect" in text or "dns error" in text:
        hint = "check the network, or the channel's alias and proxy settings"
    return InstallError(f"{who} cannot be {doing}: {reason}", hint=hint, detail=text)
