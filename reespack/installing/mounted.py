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
from reespack.archive.listing import Member, parse_listing
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
from reespack.unpack.extract import read_mending, write_file

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
            if lease is not None and _seen(place.environment, place):
                return lease  # started from within
            try:
                handles = _joinable(place, origin) if lease is not None else None
                if handles is None:
                    handles = _mounted(place, program, archive, origin, make)
                with _closing(handles):
                    lease = lease or leased()
                    if handles is not None and lease is not None:
                        enter(handles)
                        _sign(lease, origin)
                        entered, lease = lease, None
                        return entered
            finally:
                if lease is not None:
                    lease.release()
    except (VerificationError, ArchiveChangedError):
        raise
    except (UnpackError, OSError) as error:
        said = error.message if isinstance(error, UnpackError) else str(error)
        progress.step(f"{archive.name} is unpacked: {said}")
        return None


def _mounted(
    place: Place, program: str, archive: Path, origin: str, make: Callable[[Namespace, Lock], bool]
) -> _Handles | None:
    """Mount, unless another process does; return what a new namespace is entered by."""
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
        if not _seen(namespace.seen(place.environment), place):
            raise StoreError(f"{place.environment} does not show what was mounted there")
        return namespace.handles()


def _seen(environment: Path, place: Place) -> bool:
    """Whether the environment, by a path that leads to it, is the one of this place."""
    try:
        return (environment / MARKER).read_bytes() == (place.kept / MARKER).read_bytes()
    except OSError:  # not mounted, or nobody serves it any more
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
            seen = Path(f"/proc/{owner.pid}/root{place.environment}")
            if str(numbers) == signed[0] and _seen(seen, place):
                return handles
            _close(handles)
    return None


def _is_joinable(place: Place, origin: str) -> bool:
    with _closing(_joinable(place, origin)) as handles:
        return handles is not None


@contextlib.contextmanager
def _closing(handles: _Handles | None) -> Iterator[_Handles | None]:
    try:
        yield handles
    finally:
        _close(handles)


def _close(handles: _Handles | None) -> None:
    for handle in handles or ():
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
    mtime = int((image / LISTING).stat().st_mtime)
    for path in mending.records:
        content = (image / path).read_bytes()
        if sha256_bytes(content) != members[path].value:
            raise VerificationError(
                f"{path} is damaged: its sha256 is not the listing's",
                hint="fetch or build the archive again",
            )
        _write(layer, members[path], mending.mended(members[path], content), mtime)
    lines = f"{place.environment}\n{place.digest}\n{archive}\n"
    for path, content in (
        (MANIFEST, manifest),  # for `reespack list`
        (STATE, os.fsencode(place.environment) + b"\n"),
        (MARKER, lines.encode("utf-8", "surrogateescape")),
    ):
        _write(layer, Member(path, "0644", len(content), "-"), content, mtime)
    return made


def _write(layer: Path, member: Member, content: bytes, mtime: int) -> None:
    above = layer
    for name in member.path.split("/")[:-1]:
        above /= name
        if not above.is_dir():
            _make_folder(above)
    write_file(layer, member, content, mtime)


def _make_folder(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)  # whatever the umask
