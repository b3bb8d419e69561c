"""Stores: which one is this process's, and what lies where in it.

    STORE/DIGEST             an environment, whole: it comes and goes by one rename
    STORE/.DIGEST.lock       the link of whoever makes or removes it (see `lock`)
    STORE/.DIGEST.beat       that one's heart
    STORE/.DIGEST.leases/    who runs from it (see `lease`)
    STORE/.DIGEST.part.*/    an environment in the making, or what is left of one
    STORE/.DIGEST.gone.*/    an environment that is being removed
    STORE/DIGEST-mounted/    what a mounted image needs (see `mounted`), with its own lock etc.
    STORE/.known/            sums of archives (see `digest`)

DIGEST is the first 16 digits of the archive's sha256; the whole of it stands in the environment,
in `share/reespack/unpacked`, under the path that the environment was mended for. The shell scripts
of `reespack.kernelspec.scripts` use the same layout.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reespack.errors import ConfigError, StoreError
from reespack.installing.trust import (
    make_private,
    owners_can_be_told,
    require_trusted,
    user_ids,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reespack.store_settings import StoreSettings

__all__ = ["DIGITS", "MARKER", "Place", "Stores", "open_stores", "open_to_all"]

DIGITS = 16
_MOUNTED = "mounted"
MARKER = "share/reespack/unpacked"
"""A file in an environment: its path, the archive's sha256, and the archive, in a line each."""


class Place(NamedTuple):
    """Where the environment of one archive is in a store, whether or not it is there.

    One that is `mounted` has other things at its path than the environment: see `mounted`.
    """

    store: Path
    digest: str
    mounted: bool = False

    @classmethod
    def named(cls, store: Path, name: str) -> Place:
        """Return the place that has this name, whose digest is the name's part of it."""
        digits, _, rest = name.partition("-")
        return cls(store=store, digest=digits, mounted=rest == _MOUNTED)

    @property
    def name(self) -> str:
        """What it is called in the store."""
        return f"{self.digest[:DIGITS]}-{_MOUNTED}" if self.mounted else self.digest[:DIGITS]

    @property
    def path(self) -> Path:
        """What lies in the store: it comes and goes by one rename."""
        return self.store / self.name

    @property
    def environment(self) -> Path:
        """The environment, as those see it who run from it."""
        return self.path / "environment" if self.mounted else self.path

    @property
    def kept(self) -> Path:
        """The files that the store itself has of the environment."""
        return self.path / "layer" if self.mounted else self.path

    @property
    def lock(self) -> Path:
        """The link that is its lock."""
        return self.store / f".{self.name}.lock"

    @property
    def leases(self) -> Path:
        """The folder of leases."""
        return self.store / f".{self.name}.leases"

    def make_leases(self) -> None:
        """Make the folder of leases; in a store that others may read they may hold some, too."""
        self.leases.mkdir(mode=0o700, exist_ok=True)
        if self.store.stat().st_mode & stat.S_IROTH:
            self.leases.chmod(0o1777)

    def aside(self, kind: str, owner: object) -> Path:
        """Return a path beside the environment that nobody else uses."""
        return self.store / f".{self.name}.{kind}.{owner}"

    def leftovers(self) -> list[Path]:
        """Return what others left behind; only whoever has the lock may ask."""
        begin = f".{self.name}."
        names = os.listdir(self.store)  # noqa: PTH208 - names are what is wanted
        kinds = (f"{begin}part.", f"{begin}gone.")
        return [self.store / name for name in names if name.startswith(kinds)]

    def is_there(self) -> bool:
        """Whether the environment is there, and was made for this very place and archive."""
        return self.marker()[:2] == [str(self.environment), self.digest]

    def marker(self) -> list[str]:
        """Return the lines of the marker, none when there is no environment."""
        try:
            text = (self.kept / MARKER).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return []
        return text.splitlines()


class Stores(NamedTuple):
    """The store that is written to, and one below it that is only read."""

    own: Path
    shared: Path | None
    trusted: frozenset[int]

    def shared_place(self, digest: str) -> Place | None:
        """Return where the shared store has an environment; None when it does not, or cannot tell.

        Raises UntrustedStoreError for one of somebody who is not trusted.
        """
        if self.shared is None or not self.shared.is_dir() or not owners_can_be_told():
            return None
        place = Place(store=Path(os.path.realpath(self.shared)), digest=digest)
        require_trusted(place.store, owners=self.trusted, what="the shared store")
        if not place.is_there():
            return None
        require_trusted(place.path, owners=self.trusted, what="the environment")
        return place


def open_stores(settings: StoreSettings, environ: Mapping[str, str] | None = None) -> Stores:
    """Return the stores of this process, its own one made if need be.

    Raises StoreError, UntrustedStoreError, or ConfigError when no place is left to choose.
    """
    variables = os.environ if environ is None else environ
    trusted = user_ids(settings.owners)
    return Stores(own=_own(settings, variables, trusted), shared=settings.shared, trusted=trusted)


def _own(settings: StoreSettings, variables: Mapping[str, str], trusted: frozenset[int]) -> Path:
    if settings.store is not None:
        return _named(settings.store, trusted)
    for name in settings.order:
        candidate = _candidate(name, variables)
        if candidate is None:
            continue
        above, below = candidate
        if (above / below).is_dir() or os.access(_existing(above), os.W_OK | os.X_OK):
            return make_private(above / below, above=above)
    raise ConfigError(
        "there is no place for the store of environments",
        hint="set REESPACK_STORE to a folder that you can write to",
    )


def open_to_all(store: Path) -> None:
    """Make a store that others may use and not change; raise StoreError when that cannot be."""
    try:
        store.mkdir(mode=0o755, parents=True, exist_ok=True)
        store.chmod(0o755)
    except OSError as error:
        raise StoreError(
            f"the store {store} cannot be made: {error.strerror}",
            hint="name a folder that you can write to",
        ) from error


def _named(store: Path, trusted: frozenset[int]) -> Path:
    """Return a store that was named: one's own, or a trusted account's to read."""
    try:
        status = store.stat()
    except OSError:
        return make_private(store)
    if status.st_uid == os.geteuid() and not status.st_mode & 0o055:
        return make_private(store)
    place = Path(os.path.realpath(store))
    # One that was staged for others keeps its mode.
    require_trusted(place, owners=trusted, what="the store")
    return place


def _candidate(name: str, variables: Mapping[str, str]) -> tuple[Path, Path] | None:
    """Return a folder, and the store's path below it; None when there is no such place."""
    mine = Path(f"reespack-{os.geteuid()}")
    if name == "tmp":
        return Path(_system_temporary()), mine
    value = variables.get(name, "")
    if name == "XDG_CACHE_HOME":
        if not os.path.isabs(value):  # noqa: PTH117 - a string that may be empty
            home = variables.get("HOME") or _home()
            if not os.path.isabs(home) or not os.path.isdir(home):  # noqa: PTH112, PTH117
                return None
            value = f"{home}/.cache"
        return Path(value), Path("reespack/environments")
    if not os.path.isabs(value) or not os.path.isdir(value):  # noqa: PTH112, PTH117
        return None
    return Path(value), mine


def _system_temporary() -> str:
    """Return the system's temporary folder, whatever TMPDIR says."""
    import tempfile

    places = ("/tmp", "/var/tmp")  # noqa: S108 - what is put there is checked
    return next((place for place in places if os.access(place, os.W_OK)), tempfile.gettempdir())


def _home() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def _existing(folder: Path) -> Path:
    """Return the nearest folder above that is there."""
    for place in (folder, *folder.parents):
        if place.exists():
            return place
    raise StoreError(f"{folder} cannot be made")
