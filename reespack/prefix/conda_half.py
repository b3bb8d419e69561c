"""The conda half of an environment: packages fetched, checked and laid out by rattler.

A lock does not say everything about a package. For what the cache holds, the package's own
`info/index.json` says the rest beforehand; for what is fetched, it completes the record in
conda-meta afterwards. Either way the same bytes end up there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
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
from reespack.files import remove_tree, temporary_folder, write_atomic
from reespack.prefix.conda_meta import records as installed_records
from reespack.prefix.links import CopiesNeeded, require_no_scripts, script_of
from reespack.prefix.package_cache import CachedPackages, local_archive, open_package_cache
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rattler import RepoDataRecord

    from reespack.model import EnvironmentSpec
    from reespack.products import LockedConda, PlatformLock
    from reespack.progress import Progress
    from reespack.store import Cache

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
    cache: Cache,
    linked: bool,
    progress: Progress,
) -> None:
    """Install the locked conda packages into the empty folder `path`.

    Files are copies of the cache's (or reflinks): whatever pip, postBuild or a later phase writes
    into the environment cannot reach the cache. Post-link scripts run, as conda runs them:
    without, packages that finish their installation there would be broken.

    With `linked`, they are hard links where the file system has them, and there are no post-link
    scripts: CopiesNeeded is raised for a package with one. Raises InstallError, and
    HashMismatchError for a package that is not the locked one.
    """
    packages = open_package_cache(cache)
    sources = {package.url: _source(package.url, channels) for package in lock.conda}
    packages.use(lock.conda)
    if linked and any(
        packages.unpacked(p).joinpath(script_of(p.name)).exists() for p in lock.conda
    ):
        raise CopiesNeeded
    work = _Installation(
        spec=spec,
        lock=lock,
        linked=linked,
        packages=packages,
        channels=channels,
        sources=sources,
        progress=progress,
    )
    if all(packages.holds(package) for package in lock.conda):
        work.install_into(path, [])
    else:
        with packages.locked(progress):
            missing = [package for package in lock.conda if not packages.holds(package)]
            _check(missing, sources, offline=channels.offline)
            for package in missing:
                packages.forget(package)
            work.install_into(path, missing if packages.flock else work.fetched(missing))
    # rattler marks the environment as a cache, which tar and backups would then leave out.
    (path / "CACHEDIR.TAG").unlink(missing_ok=True)
    if linked:
        require_no_scripts(path)  # of packages that were not in the cache before


def _source(url: str, channels: ChannelSettings) -> str:
    """Return where to get a package: an alias given for its channel counts for locked URLs, too."""
    if not channels.alias:
        return url
    channel, subdir, file = url.rsplit("/", 2)
    name = display_name(channel, ChannelSettings(cache=channels.cache))
    if name not in dict(channels.alias):
        return url
    return f"{channel_url(name, channels)}/{subdir}/{file}"


def _check(missing: Sequence[LockedConda], sources: dict[str, str], *, offline: bool) -> None:
    """Check the archives that lie on this machine, and that the others may be asked for."""
    remote = [
        package.name for package in missing if local_archive(package, sources[package.url]) is None
    ]
    if remote and offline:
        raise InstallError(
            f"offline, and not in the package cache: {', '.join(sorted(remote))}",
            hint="build once with the network, or give a local channel for them",
        )


class _Installation(Value):
    """Everything that rattler's installer needs besides packages and a place for them."""

    spec: EnvironmentSpec
    lock: PlatformLock
    linked: bool
    packages: CachedPackages
    channels: ChannelSettings
    sources: dict[str, str]
    progress: Progress

    def install_into(self, path: Path, missing: Sequence[LockedConda]) -> None:
        """Install everything, fetching what is missing."""
        threaded = [one for one in missing if one.name == "python" and one.build.endswith("t")]
        if threaded:
            # Where a free-threaded Python's site-packages lie must be known before others go there.
            with self.thrown_away() as scratch:
                self.install(threaded, threaded, scratch)
        self.install(
            self.lock.conda,
            [package for package in missing if package not in threaded],
            path,
            requested=[requirement.spec for requirement in self.spec.conda],
        )
        _complete(path, missing, self.packages)

    def fetched(self, missing: Sequence[LockedConda]) -> Sequence[LockedConda]:
        """Fetch packages without rattler's cache; return those still missing, which are none."""
        from reespack.prefix.fetch import fetch

        with self.thrown_away() as scratch:
            fetch(
                missing,
                self.sources,
                self.packages,
                scratch=scratch,
                channels=self.channels,
                progress=self.progress,
            )
        return ()

    def install(
        self,
        wanted: Sequence[LockedConda],
        missing: Sequence[LockedConda],
        path: Path,
        *,
        requested: Sequence[str] = (),
    ) -> None:
        """Install packages; each of `missing` is fetched, and confirmed as soon as it is here."""
        from rattler import MatchSpec, Subdir
        from rattler.config import Config
        from rattler.install import install

        from reespack.prefix.reporters import Installing

        config = Config()
        config.set("allow-hard-links", "true" if self.linked else "false")
        config.set("allow-ref-links", "true")
        records = [
            _bare_record(one, self.sources[one.url])
            if one in missing
            else _record(one, self.packages)
            for one in wanted
        ]
        absent = {one.name: one for one in missing}
        with contextlib.ExitStack() as tasks:
            # Its protocol's methods have empty bodies, which mypy takes for abstract.
            reporter = Installing(  # type: ignore[abstract]
                tasks=tasks,
                progress=self.progress,
                packages=len(wanted),
                fetched=lambda name: self.packages.confirm(absent[name]),
                missing=frozenset(absent),
            )
            work = install(
                records,
                path,
                package_cache=tasks.enter_context(self.packages.for_rattler(wanted)),
                platform=Subdir(self.lock.platform),
                client=client(self.channels),
                config=config,
                execute_link_scripts=not self.linked,
                # The binding takes the inner objects (py-rattler 0.28), unlike its signature.
                requested_specs=[MatchSpec(spec)._match_spec for spec in requested],  # noqa: SLF001
                reporter=reporter,
            )
            _run(work, wanted)
        if reporter.failed:
            raise InstallError(
                f"the post-link script of {', '.join(reporter.failed)} failed",
                hint="conda would refuse the package likewise; try another version of it",
            )

    @contextlib.contextmanager
    def thrown_away(self) -> Iterator[Path]:
        """Yield a folder for what is only to get into the cache."""
        for left in self.packages.folder.glob(f"{_SCRATCH}*"):
            remove_tree(left)  # of a build that was killed: the lock is ours
        with temporary_folder(self.packages.folder, _SCRATCH) as folder:
            yield folder


# --- records -----------------------------------------------------------------------------------


def _bare_record(package: LockedConda, url: str) -> RepoDataRecord:
    """Return a record that is enough to fetch and install a package.

    Whether it is noarch, rattler reads from the package itself.
    """
    from rattler import PackageRecord, RepoDataRecord
    from rattler.package import BuildString

    record = PackageRecord(
        name=package.name,
        version=package.version,
        build=BuildString(package.build),
        build_number=0,
        depends=list(package.depends),
        subdir=url.rsplit("/", 2)[1],
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


def _complete(path: Path, packages: Sequence[LockedConda], cached: CachedPackages) -> None:
    """Write what the packages say of themselves into their records in conda-meta.

    In rattler's own order, so that it makes no difference whether a package had to be fetched.
    """
    wanted = {package.name: package for package in packages}
    for file, record in installed_records(path):
        if record["name"] in wanted:
            known = json.loads(_record(wanted[record["name"]], cached).to_json())
            rest = {key: value for key, value in record.items() if key not in known}
            text = json.dumps({**known, **rest}, indent=2, ensure_ascii=False)
            write_atomic(file, text)


# --- errors ------------------------------------------------------------------------------------


def _run(work: Any, packages: Sequence[LockedConda]) -> None:  # noqa: ANN401
    """Run one of rattler's coroutines to its end and translate what it raises."""
    from rattler.exceptions import InstallerError, IoError, LinkError, TransactionError

    async def wait() -> None:
        await work

    try:
        asyncio.run(wait())
    except (InstallerError, IoError, LinkError, TransactionError) as error:
        raise _translated(str(error), packages) from error


def _translated(text: str, packages: Sequence[LockedConda]) -> InstallError:
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
    doing = "fetched" if first.startswith("failed to fetch") else "installed"
    return InstallError(f"{who} cannot be {doing}: {reason}", hint=hint, detail=text)
