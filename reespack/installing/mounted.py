"""A squashfs archive's environment without unpacking it: the image, and over it what was mended.

    STORE/DIGEST-mounted/layer/         the files that name the environment's place, mended
    STORE/DIGEST-mounted/image/         empty; here the image is mounted
    STORE/DIGEST-mounted/environment/   empty; here the environment is seen, both in one

The three folders are made once, like any environment of a store. The mounts are made in a
namespace (see `namespace`) and are seen from within alone, so each lies on the empty folder of
everybody else. Processes of one job, or of one session, share a namespace: who comes later joins
one that a holder of a lease is in. The lease's file says which that is, and where it was made; one
of another control group is not joined, for its image goes with the job that serves it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import PLACEHOLDERS, STATE
from reespack.archive.listing import parse_listing
from reespack.errors import ArchiveChangedError, StoreError, UnpackError, VerificationError
from reespack.files import sha256_bytes
from reespack.installing.lease import holders
from reespack.installing.lock import Lock
from reespack.installing.namespace import (
    Namespace,
    enter,
    find_squashfuse,
    namespace_of,
    open_namespace,
)
from reespack.installing.stores import MARKER
from reespack.unpack.extract import NewFiles, read_mending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reespack.installing.lease import Lease
    from reespack.installing.stores import Place
    from reespack.progress import Progress

__all__ = ["make_layer", "mount"]

_Handles = tuple[int, int]


def mount(
    place: Place,
    archive: Path,
    *,
    leased: Callable[[], Lease | None],
    make: Callable[[Namespace, Lock], bool],
    progress: Progress,
) -> Lease | None:
    """Let this process see a mounted environment, and return a lease on it; None if it cannot.

    `leased` returns a lease if the place is there; `make`, called with the lock held, makes it if
    it is not, and says whether it did: then the image is mounted already. Afterwards this process
    is in a namespace, as will be what it starts. Raises VerificationError and ArchiveChangedError:
    such an archive need not be tried in another way.
    """
    program = find_squashfuse()
    if program is None:
        progress.detail(f"{archive.name} is unpacked: squashfuse is not on PATH")
        return None
    try:
        origin = _origin()
        while True:
            lease = leased()
            if lease is not None and _seen(place.path, place):
                return lease  # started from within
            if lease is not None and _joined(place, lease, origin):
                return lease
            if lease is not None:
                lease.release()
            lease = _mounted(
                place, archive, program=program, origin=origin, leased=leased, make=make
            )
            if lease is not None:
                return lease
    except (VerificationError, ArchiveChangedError):
        raise
    except (UnpackError, OSError) as error:
        said = error.message if isinstance(error, UnpackError) else str(error)
        progress.step(f"{archive.name} is unpacked: {said}")
        return None


def _mounted(  # noqa: PLR0913 - what `mount` is given, and what it has found out
    place: Place,
    archive: Path,
    *,
    program: str,
    origin: str,
    leased: Callable[[], Lease | None],
    make: Callable[[Namespace, Lock], bool],
) -> Lease | None:
    """Mount, enter and return a lease; None when another process does it, and can be joined."""
    lock = Lock(place.lock)
    # Forked before the lock, whose heart is a thread.
    namespace = Namespace(program, archive.absolute())
    with contextlib.closing(namespace), contextlib.ExitStack() as after:
        after.callback(lock.release)
        if not lock.acquire(unless=lambda: _is_joinable(place, origin)):
            return None
        if _is_joinable(place, origin):  # since it was looked for before
            return None
        if not make(namespace, lock):
            namespace.mount_image(place.path / "image")
        namespace.lay_over(place.path)
        if not _seen(namespace.seen(place.path), place):
            raise StoreError(f"{place.environment} does not show what was mounted there")
        lock.rest()
        lease = leased()
        if lease is not None:
            try:
                with _closing(namespace.handles()) as handles:
                    enter(handles)
            except BaseException:
                lease.release()
                raise
            _sign(lease, origin)
        return lease


def _joined(place: Place, lease: Lease, origin: str) -> bool:
    """Enter the namespace of somebody who runs from the environment, if there is one."""
    handles = _joinable(place, origin)
    if handles is None:
        return False
    with _closing(handles):
        enter(handles)
    _sign(lease, origin)
    return True


def _seen(path: Path, place: Place) -> bool:
    """Whether the environment of a place is seen by `path`, which leads to the place."""
    try:
        # The marker comes from the layer; whether squashfuse still runs, only the image can tell.
        return bool(os.listdir(path / "image")) and (  # noqa: PTH208 - whether there are any
            (path / "environment" / MARKER).read_bytes() == (place.kept / MARKER).read_bytes()
        )
    except OSError:
        return False


# --- namespaces that are there -----------------------------------------------------------------


def _origin() -> str:
    """Return what a namespace to join must have been made from: this one, and in this job."""
    group = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape")
    return f"{namespace_of(os.getpid())} {group!a}"


def _sign(lease: Lease, origin: str) -> None:
    """Say in a lease's file which namespace its holder is in, and which it came from."""
    if lease.path is not None:
        with contextlib.suppress(OSError):
            text = f"{namespace_of(os.getpid())}\n{origin}\n"
            lease.path.write_text(text, encoding="ascii")


def _joinable(place: Place, origin: str) -> _Handles | None:
    """Return what the namespace of somebody who runs from the environment is entered by."""
    for owner in holders(place.leases):
        if owner.pid == os.getpid() or not owner.is_visible:
            continue
        with contextlib.suppress(OSError, ValueError):
            signed = (place.leases / str(owner)).read_text(encoding="ascii").splitlines()
            if signed[1:] != [origin]:
                continue
            handles = open_namespace(owner.pid)
            numbers = tuple(os.fstat(handle).st_ino for handle in handles)
            # The holder may have gone on into a namespace of its own, where all may look different.
            seen = Path(f"/proc/{owner.pid}/root{place.path}")
            if str(numbers) == signed[0] and _seen(seen, place):
                return handles
            with _closing(handles):
                continue
    return None


def _is_joinable(place: Place, origin: str) -> bool:
    handles = _joinable(place, origin)
    if handles is None:
        return False
    with _closing(handles):
        return True


@contextlib.contextmanager
def _closing(handles: _Handles) -> Iterator[_Handles]:
    try:
        yield handles
    finally:
        for handle in handles:
            os.close(handle)


# --- what is mended ----------------------------------------------------------------------------


def make_layer(place: Place, archive: Path, namespace: Namespace, part: Path) -> Path:
    """Make the folders of a mounted environment in `part`, and return what is to be renamed.

    Each file that is mended is held against the listing before. Raises VerificationError when it is
    another, UnpackError when the place's path is too long for one.
    """
    made = part / "mounted"
    layer = made / "layer"
    for folder in (made, layer, made / "image", made / "environment"):
        _make_folder(folder)
    namespace.mount_image(made / "image")  # the mount goes along when its folder is renamed
    image = namespace.seen(made / "image")
    manifest, listing, placeholders = (
        (image / path).read_bytes() for path in (MANIFEST, LISTING, PLACEHOLDERS)
    )
    mending = read_mending(placeholders, os.fsencode(place.environment))
    members = {member.path: member for member in parse_listing(listing)}
    for path in mending.records:
        content = (image / path).read_bytes()
        if sha256_bytes(content) != members[path].value:
            raise VerificationError(
                f"{path} is damaged: its sha256 is not the listing's",
                hint="fetch or build the archive again",
            )
        _write(layer, path, members[path].kind, mending.mended(members[path], content))
    lines = f"{place.environment}\n{place.digest}\n{archive}\n"
    for path, content in (
        (MANIFEST, manifest),  # for `reespack list`
        (STATE, os.fsencode(place.environment) + b"\n"),
        (MARKER, lines.encode("utf-8", "surrogateescape")),
    ):
        _write(layer, path, "0644", content)
    return made


def _write(layer: Path, path: str, kind: str, content: bytes) -> None:
    above = layer
    for name in path.split("/")[:-1]:
        above /= name
        if not above.is_dir():
            _make_folder(above)
    NewFiles(layer).write(path, kind, content)


def _make_folder(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)  # whatever the umask
