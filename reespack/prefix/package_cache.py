"""The folder of unpacked conda packages: locked, and holding only what was checked.

rattler keys its cache by name, version and build and does not check the hash of a package that lies
on this machine, nor does it undo its note of a hash after a failed download. So a sidecar file of
ours says which digest a folder was unpacked from; a folder without the right one is fetched again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reespack.errors import HashMismatchError, InstallError
from reespack.files import remove_tree, write_atomic
from reespack.model import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.model import LockedConda

__all__ = ["CachedPackages", "local_archive", "open_package_cache"]

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_CHECKED = ".checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedPackages:
    """A folder of unpacked packages that this process may lock and write to."""

    folder: Path

    def unpacked(self, package: LockedConda) -> Path:
        """Return where rattler unpacks a package."""
        return self.folder / f"{package.name}-{package.version}-{package.build}"

    def holds(self, package: LockedConda) -> bool:
        """Say whether the very package that the lock names is there, checked."""
        note = self._note(package)
        return (
            (self.unpacked(package) / "info" / "index.json").is_file()
            and note.is_file()
            and note.read_text(encoding="utf-8") == _identity(package)
        )

    def forget(self, package: LockedConda) -> None:
        """Remove what lies under the package's name, so that rattler fetches it."""
        folder = self.unpacked(package)
        self._note(package).unlink(missing_ok=True)
        remove_tree(folder)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)

    def confirm(self, package: LockedConda) -> None:
        """Note that what lies there was unpacked from the package that the lock names."""
        write_atomic(self._note(package), _identity(package))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other builds out for as long as packages are fetched or linked."""
        from filelock import FileLock

        (self.folder / _CHECKED).mkdir(exist_ok=True)
        with FileLock(self.folder / ".reespack.lock"):
            yield

    def _note(self, package: LockedConda) -> Path:
        return self.folder / _CHECKED / self.unpacked(package).name


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


def open_package_cache(cache: Path) -> tuple[CachedPackages, tuple[Note, ...]]:
    """Return the package cache below `cache`, or one of the user's own where locks do not work.

    Lustre without `-o flock` refuses flock(2) with ENOSYS, some NFS servers with ENOLCK, and
    rattler cannot install without. Raises InstallError when neither can be used.
    """
    shared = cache / "packages"
    try:
        shared.mkdir(parents=True, exist_ok=True)
        if _can_lock(shared):
            return CachedPackages(folder=shared), ()
    except OSError as error:
        raise InstallError(
            f"the package cache {shared} cannot be written: {error.strerror}",
            hint="set REESPACK_CACHE to a folder of your own",
        ) from error
    private = _private_folder()
    if not _can_lock(private):
        raise InstallError(
            f"neither {shared} nor {private} is on a file system with locks (flock)",
            hint="set REESPACK_CACHE or TMPDIR to a folder on a local disk",
        )
    note = Note(
        message=f"the file system of {shared} has no locks (flock); packages are kept in {private}",
        hint="set REESPACK_CACHE to a folder on a local disk to share them between builds",
    )
    return CachedPackages(folder=private), (note,)


def _can_lock(folder: Path) -> bool:
    probe = folder / ".flock"
    handle = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            raise
    finally:
        os.close(handle)
    return True


def _private_folder() -> Path:
    """Return a folder below TMPDIR that is this user's alone and outlives the build."""
    top = Path(tempfile.gettempdir()) / f"reespack-{os.getuid()}"
    folder = top / "packages"
    try:
        top.mkdir(mode=0o700, exist_ok=True)
        status = top.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise InstallError(
                f"{top} belongs to somebody else", hint="set TMPDIR to a folder of your own"
            )
        top.chmod(0o700)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InstallError(f"{folder} cannot be made: {error.strerror}") from error
    return folder
