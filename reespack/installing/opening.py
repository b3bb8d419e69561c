"""An environment for this very process to run from: mounted where that can be, else unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.installing.digest import Snapshot, digest_of, remember
from reespack.installing.stores import Place
from reespack.installing.unpacking import (
    Installation,
    clear,
    install,
    leased,
    require_mine,
    retire_stale,
    told,
)
from reespack.owners import current_owner
from reespack.progress import QUIET

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.installing.lock import Lock
    from reespack.installing.namespace import Namespace
    from reespack.installing.stores import Stores
    from reespack.progress import Progress

__all__ = ["open_environment"]

_IMAGE = b"hsqs"


def open_environment(
    archive: Path,
    *,
    stores: Stores,
    mount: bool = True,
    threads: int | None = None,
    progress: Progress = QUIET,
) -> Installation:
    """Return an archive's environment for this process to become a program in.

    A squashfs archive that no store has unpacked is mounted, if `mount` and if squashfuse and the
    system allow it: then this process is in a namespace of its own afterwards (it must have one
    thread). Everything else is as `install` does it. Raises what that raises.
    """
    if mount and _is_image(archive):
        mounted = _mounted(archive, stores, threads, progress)
        if mounted is not None:
            return mounted
    return install(archive, stores=stores, threads=threads, progress=progress)


def _is_image(archive: Path) -> bool:
    try:
        with archive.open("rb") as file:
            return file.read(len(_IMAGE)) == _IMAGE
    except OSError:
        return False  # `install` says why


def _mounted(
    archive: Path, stores: Stores, threads: int | None, progress: Progress
) -> Installation | None:
    """Return a mounted environment; None where it is unpacked, or has to be."""
    from reespack.installing.mounted import mount

    snapshot = Snapshot(archive)
    digest = digest_of(snapshot, stores.own)
    own = Place(store=stores.own, digest=digest)
    if own.is_there() or stores.shared_place(digest) is not None:
        return None
    place = own._replace(mounted=True)
    fresh = False

    def make(namespace: Namespace, lock: Lock) -> bool:
        nonlocal fresh
        made = _make(place, snapshot, namespace, lock, threads=threads, progress=progress)
        fresh = made or fresh
        return made

    with told(place.store):
        lease = mount(place, archive, leased=lambda: leased(place), make=make, progress=progress)
    if lease is None:
        return None
    return Installation(place=place, archive=archive, fresh=fresh, lease=lease)


def _make(  # noqa: PLR0913 - what goes where, and how
    place: Place,
    snapshot: Snapshot,
    namespace: Namespace,
    lock: Lock,
    *,
    threads: int | None,
    progress: Progress,
) -> bool:
    """Make what a mounted environment needs, the lock being held; say whether it was not there."""
    from reespack.cores import available_cores
    from reespack.files import removed_afterwards
    from reespack.installing.mounted import make_layer
    from reespack.unpack.whole import required_sum

    for left in place.leftovers():
        clear(left)
    if place.is_there():
        place.make_leases()
        return False
    retire_stale(place, progress)
    progress.step(f"mounting {snapshot.archive.name} (once in this store)")
    part = place.aside("part", current_owner())
    part.mkdir(0o700)
    with removed_afterwards(part):
        cores = threads or available_cores()
        with required_sum(snapshot.archive, place.digest, threads=cores):
            made = make_layer(place, snapshot.archive, namespace, part)
        snapshot.require_same()
        require_mine(lock)
        remember(snapshot, place.store, place.digest)
        place.make_leases()
        made.rename(place.path)
    return True
