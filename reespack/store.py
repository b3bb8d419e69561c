"""The cache: what lies where in it, and how processes keep out of each other's way.

    ROOT/packages      conda packages, unpacked (rattler's)
    ROOT/repodata      repodata of channels (rattler's)
    ROOT/wheels        wheels that were built from sdists, git and projects
    ROOT/uv            uv's own cache
    ROOT/repositories  checkouts, by commit
    ROOT/builds        folders of builds that are under way
    ROOT/lockfiles     locks, by the digest of what led to them
    ROOT/artifacts     finished archives, by key
    ROOT/locks         files that are locked

Everything appears by one rename. Modes are what the umask says, so that a group may share a cache.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import ConfigError
from reespack.files import current_umask, remove_tree, write_atomic
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filelock import BaseFileLock

    from reespack.progress import Progress

__all__ = ["Cache"]

_NO_FLOCK = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})
_BUILD = "build-"


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache folder. Its parts are made when they are first asked for.

    Every member raises ConfigError, with REESPACK_CACHE in the hint, when a part cannot be made
    or written to.
    """

    root: Path

    @property
    def packages(self) -> Path:
        """Return the folder of conda packages."""
        return self._part("packages")

    @property
    def repodata(self) -> Path:
        """Return the folder of channels' repodata."""
        return self._part("repodata")

    @property
    def wheels(self) -> Path:
        """Return the folder of wheels that were built here."""
        return self._part("wheels")

    @property
    def repositories(self) -> Path:
        """Return the folder of checkouts."""
        return self._part("repositories")

    @property
    def builds(self) -> Path:
        """Return the folder of builds that are under way."""
        return self._part("builds")

    @property
    def lockfiles(self) -> Path:
        """Return the folder of locks."""
        return self._part("lockfiles")

    @property
    def artifacts(self) -> Path:
        """Return the folder of finished archives."""
        return self._part("artifacts")

    @property
    def locks(self) -> Path:
        """Return the folder of the files that are locked."""
        return self._part("locks")

    def _part(self, name: str) -> Path:
        folder = self.root / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error.strerror or "it cannot be made") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise self._unusable(f"{name}/ is not writable")
        return folder

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"the cache folder {self.root} cannot be used: {why}",
            hint="set REESPACK_CACHE to a folder that you can write to",
        )

    # --- locks -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, name: str, *, progress: Progress = QUIET) -> Iterator[None]:
        """Hold the lock `name` (a file name); say so when it has to be waited for."""
        lock = self._acquired(name, wait=False)
        if lock is None:
            progress.step(f"Waiting for another reespack to finish with {name}")
            progress.detail(f"the lock is {self.locks / name}.lock")
            lock = self._acquired(name, wait=True)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _acquired(self, name: str, *, wait: bool) -> BaseFileLock | None:
        """Return the lock, held; None when somebody else has it and `wait` is False.

        Where the file system has no flock (Lustre mounted without it, some NFS), a file with the
        holder's host, process and start time stands for it; one whose process is gone is broken.
        """
        from filelock import SoftFileLock, Timeout, UnixFileLock

        path = self.locks / f"{name}.lock"
        kinds: tuple[BaseFileLock, ...] = (
            UnixFileLock(path, fallback_to_soft=False),
            SoftFileLock(path.with_suffix(".soft")),
        )
        for lock in kinds:
            try:
                lock.acquire(blocking=wait, poll_interval=0.1)
            except Timeout:
                return None
            except OSError as error:
                if error.errno in _NO_FLOCK and lock is kinds[0]:
                    continue
                raise self._unusable(f"{path.name}: {error.strerror}") from error
            return lock
        return None

    # --- builds ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def build_folder(self) -> Iterator[Path]:
        """Yield a new, empty folder that is gone afterwards, whatever happens.

        What a killed build left behind goes, too.
        """
        self._sweep()
        try:
            folder = Path(tempfile.mkdtemp(prefix=_BUILD, dir=self.builds))
        except OSError as error:
            raise self._unusable(error.strerror or "no folder can be made in it") from error
        lock = self.locks / f"{folder.name}.lock"
        try:
            with self.lock(folder.name):
                yield folder
        finally:
            try:
                remove_tree(folder)
            except KeyboardInterrupt:
                remove_tree(folder)  # a second Ctrl-C is no reason to leave gigabytes behind
                raise
            finally:
                lock.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for folder in self.builds.glob(f"{_BUILD}*"):
            name = folder.name
            # A build that has made its folder but not its lock is as young as this.
            with contextlib.suppress(OSError, ConfigError):
                if not (self.locks / f"{name}.lock").exists() and _is_young(folder):
                    continue
                held = self._acquired(name, wait=False)
                if held is not None:
                    try:
                        remove_tree(folder)
                    finally:
                        held.release()
                        (self.locks / f"{name}.lock").unlink(missing_ok=True)

    # --- what is kept ------------------------------------------------------------------------

    def find_lock(self, key: str) -> str | None:
        """Return the lockfile that `key` led to before, or None."""
        try:
            return (self.root / "lockfiles" / f"{key}.yml").read_text(encoding="utf-8")
        except OSError:
            return None

    def keep_lock(self, key: str, text: str) -> None:
        """Keep a lockfile under `key`."""
        try:
            write_atomic(self.lockfiles / f"{key}.yml", text)
        except OSError as error:
            raise self._unusable(error.strerror or "a lockfile cannot be kept") from error

    def find_artifact(self, key: str) -> Path | None:
        """Return the folder with the files kept under `key`, or None."""
        folder = self.root / "artifacts" / key
        return folder if folder.is_dir() else None

    def keep_artifact(self, key: str, files: Mapping[str, Path]) -> Path:
        """Keep files or folders (name -> where each is now) under `key`; return their folder.

        They are moved where that is possible, and made read-only. When another process has kept
        the same key meanwhile, its files stay.
        """
        target = self.artifacts / key
        try:
            temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.artifacts))
            try:
                for name, source in files.items():
                    shutil.move(source, temporary / name)
                _make_read_only(temporary)
                with contextlib.suppress(FileExistsError):
                    _rename_new(temporary, target)
            finally:
                remove_tree(temporary)
        except OSError as error:
            raise self._unusable(error.strerror or "an archive cannot be kept") from error
        return target


def _is_young(folder: Path) -> bool:
    import time

    return time.time() - folder.stat().st_mtime < 60  # noqa: PLR2004 - seconds


def _make_read_only(folder: Path) -> None:
    """Take the write bits from the files in a folder that the umask would give; open the rest."""
    mask = current_umask()
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o777 & ~mask)
        elif not path.is_symlink():
            executable = 0o111 if path.stat().st_mode & 0o100 else 0
            path.chmod((0o444 | executable) & ~mask)


def _rename_new(source: Path, target: Path) -> None:
    """Rename a folder; raise FileExistsError when there is one already that is not empty."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise FileExistsError(error.errno, error.strerror, str(target)) from error
        raise
