"""What lies where in the cache, and how processes keep out of each other's way.

    ROOT/packages       conda packages, unpacked (rattler's)
    ROOT/repodata       repodata of channels (rattler's)
    ROOT/uv             uv's own cache
    ROOT/sources        sdists and archives that wheels were built from, by digest
    ROOT/distributions  what Python distributions conda packages bring, by digest
    ROOT/stubs          wheels that stand for those, for uv
    ROOT/repositories   checkouts, by commit
    ROOT/lockfiles      locks, by the digest of what led to them
    ROOT/artifacts      finished archives, by key
    ROOT/builds         folders of builds that are under way
    ROOT/locks, leases, used    see reespack.locks and reespack.store.use

Everything appears by one rename. Modes are what the umask says, so that a group may share a cache;
in a folder that is marked as a group's (`chmod g+ws`) the group may write to all of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import ConfigError
from reespack.files import current_umask, remove_tree, removed_afterwards, write_atomic
from reespack.locks import locked, try_lock
from reespack.progress import QUIET
from reespack.store.use import open_to_group, stamp, take_lease

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from reespack.locks import Holder
    from reespack.progress import Progress

__all__ = ["Cache"]

_BUILD = "build-"
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_RESERVE = ".reserve"
_RESERVE_SIZE = 1 << 16
_FULL = frozenset({os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT)})
_ROOM = "make room (`reespack cache prune`), or set REESPACK_CACHE to a folder on another disk"


class Cache:
    """A cache folder. Its parts are made when they are first asked for.

    What is not in it is looked for in the cache `below`, which nothing is written to. Every member
    raises ConfigError, with REESPACK_CACHE in the hint, when a part cannot be made or written to.
    """

    def __init__(self, root: Path, below: Path | None = None) -> None:
        self.root = root
        self.below = below

    @property
    def packages(self) -> Path:
        """Return the folder of conda packages."""
        return self._part("packages")

    @property
    def repodata(self) -> Path:
        """Return the folder of channels' repodata."""
        return self._part("repodata")

    @property
    def bytecode(self) -> Path:
        """Return the folder of bytecode."""
        return self._part("bytecode")

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
        """Return the folder of locks. A reserve lies in it, which lets a full disk be pruned."""
        folder = self._part("locks")
        with contextlib.suppress(OSError), (folder / _RESERVE).open("xb") as reserve:
            reserve.write(bytes(_RESERVE_SIZE))
        return folder

    def give_up_reserve(self) -> None:
        """Free the few blocks that a lock takes on a disk that is full."""
        (self.root / "locks" / _RESERVE).unlink(missing_ok=True)

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
            hint=_ROOM if why in _FULL else "set REESPACK_CACHE to a folder that you can write to",
        )

    # --- locks -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, name: str, *, progress: Progress = QUIET) -> Iterator[None]:
        """Hold the lock `name` (a file name); say so when it has to be waited for."""
        path = self.locks / name

        def say(holder: Holder | None) -> None:
            progress.step(f"Waiting for another reespack to finish with {name}")
            progress.detail(f"it is {holder or 'gone by now'}, and its lock {path}")

        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(path, on_wait=say))
            except OSError as error:
                raise self._unusable(f"{path}: {error.strerror}") from error
            yield

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep what is used from now on from being pruned, until the end of the block.

        A cache that cannot be written to is used without: nothing can be pruned from it either.
        """
        try:
            with self.open_to_group():
                lease = take_lease(self.root)
                if lease is not None:
                    self._stamp("uv", ())
        except OSError as error:
            raise self._unusable(error.strerror or "nothing can be written there") from error
        try:
            yield
        finally:
            if lease is not None:
                lease.release()

    def open_to_group(self) -> AbstractContextManager[None]:
        """Let the group write to what is made in the block, if the cache is marked as a group's."""
        return open_to_group(self.root)

    def use(self, part: str, *names: str) -> None:
        """Note that entries of a part are about to be used; look for them afterwards.

        Within `in_use`, those that are there then stay.
        """
        if not names:
            return
        try:
            with self.lock("entries"):
                self._stamp(part, names)
        except ConfigError as error:
            if getattr(error.__cause__, "errno", errno.EACCES) not in _READ_ONLY:
                raise
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise self._unusable(error.strerror or "nothing can be written there") from error

    def _stamp(self, part: str, names: Iterable[str]) -> None:
        """Stamp entries, and the part as a whole."""
        stamp(self.root, part, names)
        stamp(self.root, ".", (f".{part}",))

    # --- builds ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def build_folder(self) -> Iterator[Path]:
        """Yield a new, empty folder that is gone afterwards, whatever happens.

        What a killed build left behind goes, too.
        """
        self.sweep()
        name = f"{_BUILD}{os.urandom(4).hex()}"
        folder = self.builds / name
        # The lock comes first: a folder without one is nobody's.
        with self.lock(name), removed_afterwards(folder):
            try:
                folder.mkdir(mode=0o700)
            except OSError as error:
                raise self._unusable(error.strerror or "no folder can be made") from error
            yield folder

    def sweep(self) -> tuple[Path, ...]:
        """Remove the folders of builds that were killed; return which."""
        swept = []
        for folder in self.builds.glob(f"{_BUILD}*"):
            with contextlib.suppress(OSError):
                held = try_lock(self.locks / folder.name)
                if held is not None:
                    try:
                        remove_tree(folder)
                        swept.append(folder)
                    finally:
                        held.release()
        return tuple(swept)

    # --- what is kept ------------------------------------------------------------------------

    def find_lock(self, key: str) -> str | None:
        """Return the lockfile that `key` led to before, or None."""
        for root in self._roots():
            with contextlib.suppress(OSError):
                text = (root / "lockfiles" / f"{key}.yml").read_text(encoding="utf-8")
                if root == self.root:
                    with contextlib.suppress(OSError):  # it has been read, whatever becomes of it
                        self._stamp("lockfiles", (f"{key}.yml",))
                return text
        return None

    def keep_lock(self, key: str, text: str) -> None:
        """Keep a lockfile under `key`."""
        try:
            write_atomic(self.lockfiles / f"{key}.yml", text)
            self._stamp("lockfiles", (f"{key}.yml",))
        except OSError as error:
            raise self._unusable(error.strerror or "a lockfile cannot be kept") from error

    def find_artifacts(self, key: str) -> Iterator[Path]:
        """Yield the folders with the files kept under `key`: this cache's, then that below."""
        for root in self._roots():
            folder = root / "artifacts" / key
            if folder.is_dir() and root == self.root:
                self.use("artifacts", key)
            if folder.is_dir():
                yield folder

    def latest_artifacts(self, most: int) -> tuple[Path, ...]:
        """Return the folders of the archives that were kept last, the newest first.

        Any of them may be gone by the time it is looked into.
        """
        found: list[tuple[float, Path]] = []
        for root in self._roots():
            with contextlib.suppress(OSError):
                folders = [entry for entry in os.scandir(root / "artifacts") if entry.is_dir()]
                found += ((entry.stat().st_mtime, Path(entry.path)) for entry in folders)
        return tuple(folder for _, folder in sorted(found, reverse=True)[:most])

    def _roots(self) -> tuple[Path, ...]:
        return (self.root,) if self.below is None else (self.root, self.below)

    def keep_artifact(self, key: str, files: Mapping[str, Path]) -> Path:
        """Keep files or folders (name -> where each is now) under `key`; return their folder.

        They are moved where that is possible, and made read-only. When another process has kept
        the same key meanwhile, its files stay.
        """
        import tempfile  # most of the time what is asked for is here already

        target = self.artifacts / key
        try:
            self._stamp("artifacts", (key,))
            made = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.artifacts))
            with removed_afterwards(made) as temporary:
                for name, source in files.items():
                    shutil.move(source, temporary / name)
                _make_read_only(temporary)
                with contextlib.suppress(FileExistsError):
                    _rename_new(temporary, target)
        except OSError as error:
            raise self._unusable(error.strerror or "an archive cannot be kept") from error
        return target

    def discard_artifact(self, key: str) -> None:
        """Remove what is kept under `key`, if anything is; the cache below stays as it is."""
        if not (self.artifacts / key).is_dir():
            return
        import tempfile

        try:
            made = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.artifacts))
            with removed_afterwards(made) as aside:
                (self.artifacts / key).rename(aside)  # all at once, for whoever looks for it now
        except OSError as error:
            raise self._unusable(error.strerror or "an archive cannot be removed") from error


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
