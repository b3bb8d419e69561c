"""The folder of unpacked conda packages: locked, and holding only what was checked.

rattler keys its cache by name, version and build and does not check the hash of a package that lies
on this machine, nor does it undo its note of a hash after a failed download. So a sidecar file of
ours says which digest a folder was unpacked from; a folder without the right one is fetched again.

rattler installs only from a cache that it can write to and lock with flock(2). From one that is
read-only, or lies where there is no flock, it is given a *view*: a folder of links to packages.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reespack.errors import HashMismatchError, InstallError
from reespack.files import remove_tree, temporary_folder, write_atomic
from reespack.locks import has_flock, local_folder
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rattler.package_cache import PackageCache

    from reespack.products import LockedConda
    from reespack.progress import Progress
    from reespack.store import Cache

__all__ = ["CachedPackages", "local_archive", "open_package_cache"]

_CHECKED = ".checked"


class CachedPackages(Value):
    """A folder of unpacked packages that this process may write to, and one that it only reads.

    `flock` says whether rattler can lock files in the first.
    """

    cache: Cache
    flock: bool = True

    @property
    def folder(self) -> Path:
        """Return where packages are fetched to."""
        return self.cache.packages

    def unpacked(self, package: LockedConda) -> Path:
        """Return where a package is, or where rattler unpacks it."""
        name = _name(package)
        shared = self._shared
        own = self.folder / name
        if shared is None or own.exists() or not _is_checked(shared, package):
            return own
        return shared / name

    def use(self, packages: Sequence[LockedConda]) -> None:
        """Keep packages from being pruned."""
        self.cache.use("packages", *map(_name, packages))

    def holds(self, package: LockedConda) -> bool:
        """Say whether the very package that the lock names is there, checked."""
        return _is_checked(self.unpacked(package).parent, package)

    def forget(self, package: LockedConda) -> None:
        """Remove what lies under the package's name, so that rattler fetches it."""
        folder = self.folder / _name(package)
        self._note(package).unlink(missing_ok=True)
        remove_tree(folder)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)

    def confirm(self, package: LockedConda) -> None:
        """Note that what lies there was unpacked from the package that the lock names."""
        write_atomic(self._note(package), _identity(package))

    @contextlib.contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Keep other builds from fetching packages."""
        with self.cache.lock("packages", progress=progress):
            (self.folder / _CHECKED).mkdir(exist_ok=True)
            yield

    @contextlib.contextmanager
    def for_rattler(self, packages: Sequence[LockedConda]) -> Iterator[PackageCache]:
        """Yield the cache as rattler takes it; only `packages` have to be found in it."""
        from rattler.package_cache import PackageCache

        found = [self.unpacked(package) for package in packages if self.holds(package)]
        apart = [path for path in found if path.parent != self.folder or not self.flock]
        if self.flock and not apart:
            yield PackageCache(self.folder)
            return
        top = self.folder if self.flock else local_folder("packages")
        if top is None:
            raise InstallError(
                f"neither {self.folder} nor a folder for temporary files is on a file system "
                "with locks (flock)",
                hint="set REESPACK_CACHE or TMPDIR to a folder on a local disk",
            )
        with temporary_folder(top, ".view-") as scratch:
            view, rest = scratch / "view", scratch / "rest"
            view.mkdir()
            rest.mkdir()
            for path in apart:
                (view / path.name).symlink_to(path)
                (view / f"{path.name}.lock").touch()  # which rattler opens, whatever it may write
            view.chmod(0o555)  # that is how rattler knows what is only to be read
            try:
                yield PackageCache.new_layered([view, self.folder if self.flock else rest])
            finally:
                view.chmod(0o755)

    @property
    def _shared(self) -> Path | None:
        return None if self.cache.below is None else self.cache.below / "packages"

    def _note(self, package: LockedConda) -> Path:
        return self.folder / _CHECKED / _name(package)


def _name(package: LockedConda) -> str:
    return f"{package.name}-{package.version}-{package.build}"


def _is_checked(folder: Path, package: LockedConda) -> bool:
    try:
        note = (folder / _CHECKED / _name(package)).read_text(encoding="utf-8")
    except OSError:
        return False
    index = folder / _name(package) / "info" / "index.json"
    return note == _identity(package) and index.is_file()


def _identity(package: LockedConda) -> str:
    """Return what a package is known by: its digests, or, when the lock has none, its URL."""
    if package.sha256:
        return f"sha256:{package.sha256}"
    return f"md5:{package.md5}" if package.md5 else package.url


def local_archive(package: LockedConda, url: str) -> Path | None:
    """Return the checked archive of a package that lies on this machine; None for a remote one.

    rattler does not look at the hashes of `file:` URLs. Raises InstallError when the file is not
    there and HashMismatchError when it is another one.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    archive = Path(unquote(parts.path))
    for algorithm, expected in (("sha256", package.sha256), ("md5", package.md5)):
        if not expected:
            continue
        digest = hashlib.new(algorithm, usedforsecurity=False)
        try:
            with archive.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise InstallError(
                f"package {package.name}: {archive} cannot be read: {error.strerror}",
                hint="lock again if the channel has moved on",
            ) from error
        if digest.hexdigest() != expected:
            raise HashMismatchError(
                f"package {package.name} is not the one that was locked: "
                f"expected {algorithm} {expected}, got {digest.hexdigest()}",
                hint="lock again if the channel's package was rebuilt",
                detail=str(archive),
            )
        break
    return archive


def open_package_cache(cache: Cache) -> CachedPackages:
    """Return the package cache below `cache`. Raises InstallError when it cannot be written."""
    try:
        cache.packages.mkdir(parents=True, exist_ok=True)
        return CachedPackages(cache=cache, flock=has_flock(cache.packages))
    except OSError as error:
        raise InstallError(
            f"the package cache {cache.root / 'packages'} cannot be written: {error.strerror}",
            hint="set REESPACK_CACHE to a folder of your own",
        ) from error
