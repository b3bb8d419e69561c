"""Locks between processes, on this machine and on others, wherever a folder is shared.

A lock is a folder with one empty file in it, whose name says who holds it. It is taken by one
rename, which every file system makes atomically, and which fails while somebody's file is in the
folder. An empty folder is nobody's. A holder that is gone is removed by the name of its file, so
that whoever came after it cannot be meant.

Whether a holder is gone is proved and never guessed, in this order:

1. flock(2), where the file system has it: each holder locks its file as long as it lives, and the
   kernel lets go when it dies, on whichever machine that is. On mounts that keep such locks to one
   machine (Lustre's `localflock`, NFS's `local_lock`) this counts only for that machine.
2. The name: a process of this boot of this machine that does not exist, or started at another time
   than the holder's; or an earlier boot of this machine.

Otherwise the holder counts as alive, and whoever waits is told its name. POSIX locks (fcntl) are
not tried: a file system that refuses flock refuses them, too (Lustre's mount options decide on
both, and NFS turns one into the other), and any close of the file in the process loses them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.owners import Owner, current_owner
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Held", "Holder", "has_flock", "holder_of", "local_folder", "locked", "try_lock"]

_NO_FLOCK = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524})
"""524 is the kernel's ENOTSUPP, which some NFS servers' answers end up as."""
_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_UNKNOWN = "-"
_SHORTEST, _LONGEST = 0.02, 0.5


class Holder(Value):
    """Who holds a lock: a process, and how that can be proved.

    `machine` is a digest of its host's name and machine id, "" where it has none. `flock` says
    that its file is locked as long as it lives.
    """

    owner: Owner
    machine: str
    flock: bool

    def __str__(self) -> str:
        """Return what to call it."""
        return f"process {self.owner.pid} on {self.owner.host}"

    def name(self) -> str:
        """Return the name of the holder's file."""
        return f"{self.owner}~{self.machine}~{'flock' if self.flock else 'plain'}"

    @classmethod
    def from_name(cls, name: str) -> Holder | None:
        """Return the holder that a file's name stands for; None for a name of another kind."""
        text, _, rest = name.partition("~")
        machine, _, kind = rest.partition("~")
        owner = Owner.parse(text)
        if owner is None or kind not in {"flock", "plain"}:
            return None
        return cls(owner=owner, machine=machine, flock=kind == "flock")


class Held:
    """A lock that this process holds until `release`, or until it ends."""

    def __init__(self, path: Path, file: Path, handle: int) -> None:
        self.path = path
        self._file = file
        self._handle = handle

    @property
    def since(self) -> float:
        """Return when it was taken, in seconds since the epoch."""
        return os.fstat(self._handle).st_mtime

    def release(self) -> None:
        """Let go; a second time does nothing."""
        if self._handle < 0:
            return
        # Closed first: NFS keeps a hidden file in the place of one that is removed while open.
        os.close(self._handle)
        self._handle = -1
        with contextlib.suppress(OSError):
            self._file.unlink()
        with contextlib.suppress(OSError):  # somebody has taken the empty folder already
            self.path.rmdir()


def try_lock(path: Path) -> Held | None:
    """Take the lock `path`; return None while somebody else has it.

    Raises OSError when the folder that it lies in cannot be written to.
    """
    while True:
        holder = _first(path)
        if holder is None:
            held = _claim(path)
            if held is not None:
                return held
            time.sleep(_SHORTEST / 10)  # somebody was faster, or NFS has not forgotten a file yet
            continue
        if not _is_gone(path / holder.name(), holder):
            return None
        try:
            (path / holder.name()).unlink(missing_ok=True)
        except PermissionError:
            return None  # another user's, in a folder that is only theirs to write to


@contextlib.contextmanager
def locked(path: Path, *, on_wait: Callable[[Holder | None], None] | None = None) -> Iterator[Held]:
    """Hold the lock `path`, however long that takes; `on_wait` hears once who has it.

    Raises OSError as `try_lock` does.
    """
    pause = _SHORTEST
    while (held := try_lock(path)) is None:
        if on_wait is not None:
            on_wait(holder_of(path))
            on_wait = None
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)
    try:
        yield held
    finally:
        held.release()


def holder_of(path: Path) -> Holder | None:
    """Return who has the lock `path`, dead or alive; None when nobody has."""
    with contextlib.suppress(OSError):
        return _first(path)
    return None


def has_flock(folder: Path) -> bool:
    """Say whether files in `folder` can be locked by flock(2), which rattler and uv need.

    Raises OSError when nothing can be written there.
    """
    import tempfile  # here, since most commands take locks and ask no more

    with tempfile.TemporaryFile(dir=folder) as file:
        return _flock(file.fileno())


def local_folder(name: str) -> Path | None:
    """Return a folder `name` of this user's alone on a file system with flock; None without one.

    It lies in TMPDIR or, where that has no flock either, in one of this machine's own, and stays.
    """
    import tempfile

    for top in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")):  # noqa: S108
        mine = Path(top) / f"reespack-{os.getuid()}"
        with contextlib.suppress(OSError):
            mine.mkdir(mode=0o700, exist_ok=True)
            status = mine.lstat()
            # Whoever made it before us could read and change what is in it.
            if status.st_uid != os.getuid() or mine.is_symlink():
                continue
            mine.chmod(0o700)
            if has_flock(mine):
                (mine / name).mkdir(exist_ok=True)
                return mine / name
    return None


# --- taking ------------------------------------------------------------------------------------


def _claim(path: Path) -> Held | None:
    """Put a folder with this process's name in it into the place of an empty one, or of none."""
    folder = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    folder.mkdir(mode=0o700)
    handle = -1
    try:
        # Who shares the folder may see who holds a lock, and remove a holder that is gone.
        folder.chmod(path.parent.stat().st_mode & 0o777)
        file = folder / "new"
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.fchmod(handle, 0o644)
        flock = _flock(handle)
        name = Holder(owner=current_owner(), machine=_machine(), flock=flock).name()
        file.rename(folder / name)
        folder.rename(path)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if handle >= 0:
            os.close(handle)
        if isinstance(error, OSError) and error.errno in _TAKEN:
            return None
        raise
    return Held(path, path / name, handle)


def _flock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return False
        raise
    return True


def _first(path: Path) -> Holder | None:
    """Return the holder that a lock's folder names; OSError for one that no reespack wrote."""
    try:
        # A hidden one is NFS's, for a file that was removed while it was looked at.
        names = [file.name for file in path.iterdir() if not file.name.startswith(".")]
    except FileNotFoundError:
        return None
    if not names:
        return None
    holder = Holder.from_name(names[0])
    if holder is None:
        raise OSError(errno.EINVAL, "it is not a lock of reespack's", str(path))
    return holder


# --- proof -------------------------------------------------------------------------------------


def _is_gone(file: Path, holder: Holder) -> bool:
    """Say whether it is proved that a holder does not live any more."""
    same_boot = holder.owner.boot == current_owner().boot
    if holder.flock and (same_boot or not _is_flock_local(file.parent)):
        let_go = _kernel_says(file)
        if let_go is not None:
            return let_go
    if not same_boot:
        return bool(holder.machine) and holder.machine == _machine()
    if holder.owner.boot == _UNKNOWN:
        return False
    return holder.owner.is_dead(silence=None, patience=0)


def _kernel_says(file: Path) -> bool | None:
    """Say whether nobody holds a file's flock; None when that cannot be found out."""
    try:
        # A shared lock: NFS wants a file that is open for writing for any other.
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(handle)
    return True


@functools.cache
def _machine() -> str:
    """Return what tells this machine from all others, whenever it was started."""
    try:
        number = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        number = ""
    text = f"{os.uname().nodename}\n{number}"
    return hashlib.sha256(text.encode()).hexdigest()[:16] if number else ""


def _is_flock_local(folder: Path) -> bool:
    """Say whether a mount keeps flocks to this machine (proc_pid_mountinfo(5))."""
    try:
        device = folder.stat().st_dev
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        words = line.split()
        if words[2] == wanted:
            options = {*words[5].split(","), *words[-1].split(",")}
            return not options.isdisjoint({"localflock", "local_lock=all", "local_lock=flock"})
    return False
