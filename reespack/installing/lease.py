"""Leases: a file for each process that runs from an environment, in `.DIGEST.leases/`.

Its name is the process (see `reespack.owners`), so that it is whole as soon as it is there. The
folder is what decides: it cannot be removed while a lease is in it, and without it no lease can be
made. Whoever wants to remove an environment removes that folder first; nothing else is asked.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from reespack.installing.lock import now_of
from reespack.owners import Owner, current_owner

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LEASE_PATIENCE", "Lease", "close_leases", "holders", "take_lease"]

LEASE_BEAT = 60
"""Seconds between two beats of a lease that beats."""

LEASE_PATIENCE = 1800.0
"""Seconds of silence after which a lease that beats, and cannot be checked from here, is void."""

_BEATING = "h"
_MANY = 32
_GONE = frozenset({errno.ENOENT, errno.ESTALE})
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs",
     "rootfs", "tmpfs", "xfs", "zfs"}
)  # fmt: skip
_FIRST_NAMESPACE = "4026531836"  # PROC_PID_INIT_INO, the same on every Linux

# Leaves with the process; what it was given (a pipe, say) it must not hold open.
_HEART = """
while sleep "$3"; do
    IFS= read -r line <"/proc/$2/stat" || break
    set -- "$1" "$2" "$3" "$4" ${line##*) }
    [ "${24}" = "$4" ] && [ "$5" != Z ] || break
    touch -c -- "$1" || break
    set -- "$1" "$2" "$3" "$4"
done
rm -f -- "$1"
"""


class Lease:
    """A lease of this process, which it keeps across an exec; `path` is None where none can be."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def release(self) -> None:
        """Give it back."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def take_lease(leases: Path) -> Lease | None:
    """Return a lease, or None when the environment is going or gone: it must be looked for again.

    In a store of somebody else's that cannot be written to there is a lease without a file. Raises
    OSError for a full disk and the like.
    """
    beats = not _is_local(leases.parent)
    owner = current_owner(_BEATING if beats else "n")
    path = leases / str(owner)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in _GONE:
            return None
        if error.errno in _NOT_OURS:
            return Lease(None)
        raise
    if beats:
        _start_heart(path, owner)
    _tidy(leases)
    return Lease(path)


def close_leases(leases: Path) -> tuple[Owner, ...]:
    """Remove the folder of leases; return those who hold one, when that cannot be.

    Dead ones go first. After this nobody can take one until the folder is made again, which only
    the holder of the environment's lock does.
    """
    for last in (False, False, True):
        living = holders(leases)
        if living:
            return living
        try:
            leases.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            # One was taken meanwhile, or somebody has put there what is no lease.
            if last or error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            continue
        break
    return ()


def holders(leases: Path) -> tuple[Owner, ...]:
    """Remove the leases of the dead, and return who holds the others."""
    living = []
    try:
        names = os.listdir(leases)  # noqa: PTH208 - names are what is wanted
    except FileNotFoundError:
        return ()
    now: float | None = None
    for name in names:
        path = leases / name
        owner = Owner.parse(name)
        if owner is None:
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        silence = None
        if not owner.is_visible and owner.mark.startswith(_BEATING):
            now = now_of(leases.parent) if now is None else now
            with contextlib.suppress(FileNotFoundError):
                silence = now - path.stat().st_mtime
        if owner.is_dead(silence=silence, patience=LEASE_PATIENCE):
            path.unlink(missing_ok=True)
        else:
            living.append(owner)
    return tuple(living)


def _tidy(leases: Path) -> None:
    """Remove the leases of the dead when there are many."""
    with contextlib.suppress(OSError):
        if len(os.listdir(leases)) > _MANY:  # noqa: PTH208 - their number is what is wanted
            holders(leases)


def _is_local(folder: Path) -> bool:
    """Whether whoever can see the leases of `folder` can see their processes as well."""
    try:
        if os.readlink("/proc/self/ns/pid") != f"pid:[{_FIRST_NAMESPACE}]":  # noqa: PTH115
            return False
        device = folder.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            for line in lines:
                left, _, right = line.partition(" - ")
                if left.split(" ", 3)[2] == wanted:
                    return right.split(" ", 1)[0] in _LOCAL
    except (OSError, IndexError):
        pass
    return False


def _start_heart(path: Path, owner: Owner) -> None:
    """Have a shell touch the lease now and then, as long as this process lives."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.closerange(3, 4096)
        os.chdir("/")
        words = ["sh", "-c", _HEART, "reespack", str(path), str(owner.pid), str(LEASE_BEAT)]
        os.execve("/bin/sh", [*words, owner.start], {"PATH": "/usr/local/bin:/usr/bin:/bin"})  # noqa: S606 - it is a shell
    finally:
        os._exit(1)
