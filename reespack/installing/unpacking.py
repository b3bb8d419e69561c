"""An archive becomes an environment in a store: once, whole, and never changed afterwards."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, NamedTuple

from reespack.errors import (
    InUseError,
    StoreError,
    UnpackError,
)
from reespack.installing.digest import Snapshot, digest_of, remember, told_beside
from reespack.installing.lease import Lease, close_leases, take_lease
from reespack.installing.lock import Lock
from reespack.installing.stores import MARKER, Place
from reespack.owners import current_owner
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reespack.installing.stores import Stores
    from reespack.owners import Owner
    from reespack.progress import Progress

__all__ = [
    "Installation",
    "clear",
    "install",
    "leased",
    "locked",
    "require_mine",
    "retire_stale",
    "told",
]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Installation(NamedTuple):
    """An environment in a store. `fresh` says that it was unpacked by this very call.

    `lease` keeps it from being removed for as long as this process lives, even if that becomes
    another program; where the caller has no use for it, it gives it back.
    """

    place: Place
    archive: Path
    fresh: bool
    lease: Lease

    @property
    def path(self) -> Path:
        """The environment's folder."""
        return self.place.environment

    @property
    def digest(self) -> str:
        """The archive's sha256."""
        return self.place.digest


def install(
    archive: Path, *, stores: Stores, threads: int | None = None, progress: Progress = QUIET
) -> Installation:
    """Return the environment of an archive, unpacked into the store if no store has it.

    Of many who call this at once, one unpacks and the others wait. `threads` are the cores to use,
    by default all that this process may. Raises UnpackError, VerificationError or
    ArchiveChangedError for what is wrong with the archive, StoreError for what is wrong with the
    store, which is then as it was before.
    """
    snapshot = Snapshot(archive)
    digest = digest_of(snapshot, stores.own)
    shared = stores.shared_place(digest)
    if shared is not None:
        lease = leased(shared)
        if lease is not None:
            return Installation(place=shared, archive=archive, fresh=False, lease=lease)
    place = Place(store=stores.own, digest=digest)
    fresh = False
    with told(place.store):
        while True:
            lease = leased(place)
            if lease is not None:
                return Installation(place=place, archive=archive, fresh=fresh, lease=lease)
            fresh = _make(place, snapshot, threads, progress) or fresh


def leased(place: Place) -> Lease | None:
    """Return a lease on an environment; None when it is not there, or not for long."""
    if not place.is_there():
        return None
    lease = take_lease(place.leases)
    if lease is not None and not place.is_there():
        lease.release()
        return None
    return lease


def _make(place: Place, snapshot: Snapshot, threads: int | None, progress: Progress) -> bool:
    """Unpack, unless another process does; say whether it was this one."""

    def waiting(owner: Owner | None) -> None:
        who = f" (process {owner.pid} on {owner.host})" if owner is not None else ""
        progress.step(f"waiting for another process that unpacks {snapshot.archive.name}{who}")

    def is_ready() -> bool:
        return place.is_there() and place.leases.is_dir()

    lock = Lock(place.lock)
    with contextlib.ExitStack() as after:
        after.callback(lock.release)
        if not lock.acquire(waiting=waiting, unless=is_ready):
            return False
        for left in place.leftovers():
            clear(left)
        made = False
        if not place.is_there():
            retire_stale(place, progress)
            _unpack(place, snapshot, lock, threads, progress)
            made = True
        place.make_leases()
        return made


def retire_stale(place: Place, progress: Progress) -> None:
    """Remove what lies in the environment's place and was made for another one."""
    if not place.path.exists():
        return
    using = close_leases(place.leases)
    if using:
        place.make_leases()
        raise InUseError(
            f"{place.path} was made for another place or archive, and is in use there",
            hint="end what runs from it, or set REESPACK_STORE to another folder",
        )
    progress.step(f"{place.path} was made for another place: unpacking anew")
    gone = place.aside("gone", current_owner())
    place.path.rename(gone)
    clear(gone)


def _unpack(
    place: Place, snapshot: Snapshot, lock: Lock, threads: int | None, progress: Progress
) -> None:
    from reespack.cores import available_cores
    from reespack.files import removed_afterwards
    from reespack.unpack import unpack
    from reespack.unpack.whole import required_sum

    archive = snapshot.archive
    threads = threads or available_cores()
    progress.step(f"unpacking {archive} to {place.path} (once)")
    part = place.aside("part", current_owner())
    part.mkdir(0o700)
    with removed_afterwards(part):
        told = told_beside(snapshot)
        # A sum that was taken of this very file says nothing about whether it is whole.
        known = told if told == place.digest else None
        whole = (
            contextlib.nullcontext()
            if known
            else required_sum(archive, place.digest, threads=threads)
        )
        try:
            with whole:
                unpack(
                    archive,
                    part / "environment",
                    prefix=place.path,
                    threads=threads,
                    sha256=known,
                    progress=progress,
                )
        except (UnpackError, OSError):
            snapshot.require_same()  # the better reason
            raise
        snapshot.require_same()
        marker = part / "environment" / MARKER
        lines = f"{place.path}\n{place.digest}\n{archive}\n"
        marker.write_text(lines, encoding="utf-8", errors="surrogateescape")
        marker.chmod(0o644)
        require_mine(lock)
        remember(snapshot, place.store, place.digest)
        place.make_leases()
        (part / "environment").rename(place.path)


# --- what others need, too ---------------------------------------------------------------------


def require_mine(lock: Lock) -> None:
    """Raise StoreError when a lock that this process took has been lost."""
    if not lock.is_mine:
        raise StoreError(
            "this process was held up for so long that another one took over", hint="try again"
        )


@contextlib.contextmanager
def locked(place: Place, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of an environment; yield False when another process has it."""
    lock = Lock(place.lock)
    try:
        taken = lock.acquire(wait=wait)
        if taken:
            lock.tidy()
        yield taken
    finally:
        lock.release()


def clear(path: Path) -> None:
    """Remove a folder that nobody can come upon any more, and say when that cannot be."""
    from reespack.files import remove_tree

    with contextlib.suppress(FileNotFoundError):
        remove_tree(path)


@contextlib.contextmanager
def told(store: Path) -> Iterator[None]:
    """Turn what the operating system says of a store into a StoreError."""
    try:
        yield
    except OSError as error:
        problem = error.strerror or str(error)
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in _FULL:
            hint = "make room with `reespack gc`, or set REESPACK_STORE to another disk"
        elif error.errno in _CLOSED:
            hint = "set REESPACK_STORE to a folder that you can write to"
        else:
            hint = "see whether the folder is still there, or set REESPACK_STORE to another"
        raise StoreError(
            f"the store {store} cannot be used: {problem}{where}", hint=hint
        ) from error
