"""What is in a store, and taking it away: never what somebody runs from."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import InUseError
from reespack.installing.digest import KNOWN
from reespack.installing.lease import close_leases, holders
from reespack.installing.lock import now_of
from reespack.installing.stores import MARKER, Place
from reespack.installing.unpacking import clear, locked, told
from reespack.owners import current_owner
from reespack.progress import QUIET
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from reespack.owners import Owner
    from reespack.progress import Progress

__all__ = ["Collected", "Kept", "collect", "list_store", "remove"]

_ENVIRONMENT = re.compile(r"[0-9a-f]{16}(?:-mounted)?")
_BESIDE = re.compile(r"\.([0-9a-f]{16}(?:-mounted)?)\.(?:lock|beat|leases|part|gone)\b.*")


class Kept(Value):
    """An environment in a store.

    `size` is in bytes, `idle` the seconds since somebody last began or ended to use it, by the file
    system's clock; `users` are those who run from it. `place` has the whole digest.
    """

    place: Place
    name: str
    archive: Path
    size: int
    idle: float
    users: tuple[Owner, ...]


class Collected(Value):
    """What a collection removed, or would have; and what it could not look at."""

    removed: tuple[Kept, ...]
    leftovers: tuple[Path, ...]
    busy: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the environments."""
        return sum(one.size for one in self.removed)


def list_store(store: Path) -> tuple[Kept, ...]:
    """Return the environments of a store, those that were used last first."""
    with told(store):
        names = os.listdir(store) if store.is_dir() else []  # noqa: PTH208 - names are wanted
        now = _now(store)
        found = [_look(store, name, now) for name in names if _ENVIRONMENT.fullmatch(name)]
    kept = [one for one in found if one is not None]
    return tuple(sorted(kept, key=lambda one: (one.idle, one.place.digest)))


def remove(kept: Kept) -> None:
    """Remove an environment; raise InUseError when somebody runs from it or works on it."""
    with told(kept.place.store), locked(kept.place, wait=False) as mine:
        if not mine:
            raise InUseError(f"another process works on {kept.name}", hint="try again")
        using = _remove(kept.place)
    if using:
        raise _in_use(kept.name, using)


def collect(
    store: Path,
    *,
    wanted: Callable[[Kept], bool],
    dry_run: bool = False,
    progress: Progress = QUIET,
) -> Collected:
    """Remove what is left of killed processes, and every environment that is not `wanted`.

    What somebody runs from stays, wanted or not; so does what another process works on. With
    `dry_run`, nothing is removed.
    """
    removed: list[Kept] = []
    leftovers: list[Path] = []
    busy: list[str] = []
    with told(store):
        environments = {one.place.path.name: one for one in list_store(store)}
        for name in sorted({*environments, *_mentioned(store)}):
            kept = environments.get(name)
            unwanted = kept if kept is not None and not kept.users and not wanted(kept) else None
            place = unwanted.place if unwanted else Place.named(store, name)
            if dry_run:
                removed += [unwanted] if unwanted else []
                leftovers += place.leftovers()
                continue
            with locked(place, wait=False) as mine:
                if not mine:
                    busy.append(name)
                    continue
                for path in place.leftovers():
                    clear(path)
                    leftovers.append(path)
                gone = unwanted is not None or not place.path.exists()
                if gone and not _remove(place) and unwanted is not None:
                    progress.detail(f"removed {place.path}")
                    removed.append(unwanted)
        if not dry_run:
            _tidy(store)
    return Collected(removed=tuple(removed), leftovers=tuple(leftovers), busy=tuple(busy))


def _remove(place: Place) -> tuple[Owner, ...]:
    """Remove an environment whose lock is held; return who runs from it if it has to stay."""
    using = close_leases(place.leases)
    if not using and place.path.exists():
        gone = place.aside("gone", current_owner())
        place.path.rename(gone)
        clear(gone)
    return using


def _in_use(name: str, using: tuple[Owner, ...]) -> InUseError:
    who = ", ".join(f"{owner.pid} on {owner.host}" for owner in using[:5])
    return InUseError(f"{name} is in use by process {who}", hint="end it first")


def _now(store: Path) -> float:
    """Return the time by the file system's clock, or by this host's where it cannot be asked."""
    try:
        return now_of(store)
    except OSError:
        return time.time()


def _look(store: Path, name: str, now: float) -> Kept | None:
    place = Place.named(store, name)
    lines = place.marker()
    try:
        status = place.path.stat()
    except FileNotFoundError:
        return None
    used = status.st_mtime
    with contextlib.suppress(OSError):
        used = place.leases.stat().st_mtime
    title, size = _about(place)
    marker_lines = 3
    known = len(lines) >= marker_lines
    return Kept(
        place=place._replace(digest=lines[1]) if known else place,
        name=title,
        archive=Path(lines[2]) if known else Path(),
        size=size,
        idle=max(0.0, now - used),
        users=holders(place.leases),
    )


def _about(place: Place) -> tuple[str, int]:
    """Return an environment's name and what it takes in the store, in bytes."""
    try:
        manifest = json.loads((place.kept / MARKER).with_name("manifest.json").read_bytes())
        size = _size(place.kept) if place.mounted else int(manifest["contents"]["size"])
        return str(manifest["name"]), size
    except (OSError, ValueError, LookupError, TypeError):
        return place.path.name, 0


def _size(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    from reespack.files import walk

    return sum(entry.stat(follow_symlinks=False).st_size for _, entry in walk(folder))


def _mentioned(store: Path) -> set[str]:
    """Return the environments that something beside them speaks of."""
    names = os.listdir(store)  # noqa: PTH208 - names are wanted
    return {found[1] for name in names if (found := _BESIDE.fullmatch(name))}


def _tidy(store: Path) -> None:
    """Remove what no lock is for: clocks, and sums of archives that have no environment here."""
    for clock in store.glob(".clock.*"):
        with contextlib.suppress(OSError):
            if now_of(store) - clock.stat().st_mtime > 1:
                clock.unlink()
    known = store / KNOWN
    for file in known.iterdir() if known.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            digest = file.read_bytes().partition(b" ")[0].decode("ascii")
            # One that begins with a dot was being written when its process was killed.
            places = (Place(store=store, digest=digest, mounted=one) for one in (False, True))
            if file.name.startswith(".") or not any(place.path.exists() for place in places):
                file.unlink()
    with contextlib.suppress(OSError):
        known.rmdir()
