"""A mount namespace with an image in it: seen by who enters it, and gone with the last of them.

Nothing else has to be unmounted, ever: the kernel takes the mounts away when no process is left in
the namespace, and squashfuse, which stays outside, ends when its mount is gone. Whoever is not root
gets a user namespace as well, in which only the own account has a name.

A child makes the namespace and holds it until it is entered, because only a process with one
thread may make one: so it is forked before there are others. The mount is made here and not by
squashfuse, which is given the open device (`/dev/fd/N`, libfuse 3.3 and newer): then nothing has
to be installed setuid.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from reespack.errors import StoreError

__all__ = ["Namespace", "enter", "find_squashfuse", "namespace_of", "open_namespace"]

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, sched.h
_NEW_USERS = 0x10000000  # CLONE_NEWUSER
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _RECURSIVE, _SLAVE = 1, 2, 4, 1 << 14, 1 << 19  # sys/mount.h
_LONGEST = 1 << 16
_FUSE = "/dev/fuse"
_HAND = 4
_TRIES, _BETWEEN = 200, 0.005


def find_squashfuse() -> str | None:
    """Return the program that serves images, also where PATH is empty; None when there is none."""
    path = os.environ.get("PATH", "") + ":/usr/local/bin:/usr/bin:/bin"
    return shutil.which("squashfuse_ll", path=path) or shutil.which("squashfuse", path=path)


def namespace_of(pid: int) -> tuple[int, int]:
    """Return the numbers of a process's user and mount namespace; raise OSError without them."""
    user, mount = (os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in ("user", "mnt"))  # noqa: PTH116
    return user, mount


def open_namespace(pid: int) -> tuple[int, int]:
    """Return open handles of a process's user and mount namespace; raise OSError without them."""
    user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return user, os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(user)
        raise


class Namespace:
    """A namespace in the making, to be closed. Methods raise StoreError where it cannot be made."""

    def __init__(self, program: str, archive: Path) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        self._child = os.fork()
        if not self._child:
            self._ours.close()
            _serve(theirs, program, archive)
        theirs.close()

    def close(self) -> None:
        """Let the child go, and the namespace unless something else holds it."""
        self._ours.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._child, 0)

    def mount_image(self, where: Path) -> None:
        """Mount the image on a folder. Can be done once."""
        self._ask(b"I", where)

    def seen(self, path: Path) -> Path:
        """Return a path by which what this namespace has at `path` is seen from outside."""
        return Path(f"/proc/{self._child}/root{path}")

    def lay_over(self, folder: Path) -> None:
        """Show `folder/layer`, and below it `folder/image`, at `folder/environment`."""
        self._ask(b"O", folder)

    def handles(self) -> tuple[int, int]:
        """Return handles to enter it by, which hold it when it is closed."""
        return open_namespace(self._child)

    def _ask(self, what: bytes, path: Path) -> None:
        said = b"the process that mounts has ended"
        with contextlib.suppress(OSError):
            self._ours.send(what + os.fsencode(path))
            said = self._ours.recv(_LONGEST) or said
        if said != b"+":
            raise StoreError(
                f"the image cannot be mounted: {said.decode(errors='replace')}",
                hint="it can be unpacked instead",
            )


def enter(handles: tuple[int, int]) -> None:
    """Make this process, which must have one thread, one of a namespace's; raise OSError."""
    here = os.getcwd()  # noqa: PTH109 - a string is what is wanted
    user, mount = handles
    if not os.path.samestat(os.fstat(user), os.stat("/proc/self/ns/user")):  # noqa: PTH116
        _enter(user, _NEW_USERS)
    _enter(mount, _NEW_MOUNTS)
    os.chdir(here)  # the kernel puts whoever enters a mount namespace at its root


def _enter(handle: int, kind: int) -> None:
    """Enter one namespace; a thread that was joined is a thread for a moment longer (EINVAL)."""
    for left in reversed(range(_TRIES)):
        try:
            _call("setns", handle, kind)
        except OSError as error:  # noqa: PERF203 - it is the reason for the loop
            if error.errno != errno.EINVAL or not left:
                raise
            time.sleep(_BETWEEN)
        else:
            return


# --- in the child ------------------------------------------------------------------------------


def _serve(orders: socket.socket, program: str, archive: Path) -> NoReturn:
    """Do what is asked until nobody asks any more, and leave by the shortest way."""
    try:
        hand, other = socket.socketpair()
        if not os.fork():
            orders.close()
            hand.close()
            _become_server(other, program, archive)
        other.close()
        while order := orders.recv(_LONGEST):
            orders.send(_answer(order[:1], os.fsdecode(order[1:]), hand))
    finally:
        os._exit(0)


def _answer(what: bytes, path: str, hand: socket.socket) -> bytes:
    """Do one thing; return "+", or what went wrong."""
    try:
        if what == b"I":
            _make_new()
            _mount_image(path, hand)
        else:
            _lay_over(path)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}".encode()
    return b"+"


def _make_new() -> None:
    """Leave for a new namespace, with a user namespace where the account may not do it without."""
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _NEW_MOUNTS)
    except PermissionError:
        _call("unshare", _NEW_USERS | _NEW_MOUNTS)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    # What is mounted outside from now on is seen here, and not the other way round.
    _mount("none", "/", None, _RECURSIVE | _SLAVE, None)


def _mount_image(where: str, hand: socket.socket) -> None:
    device = os.open(_FUSE, os.O_RDWR | os.O_CLOEXEC)
    try:
        told = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
        flags = _READ_ONLY | _NO_SETUID | _NO_DEVICES
        _mount("squashfuse", where, "fuse.squashfuse", flags, told)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [device]))]
        hand.sendmsg([b"+"], rights)
    finally:
        os.close(device)
    # Answered by squashfuse; if it has ended, so has the last who had the device: an error.
    os.listdir(where)  # noqa: PTH208


def _lay_over(folder: str) -> None:
    os.chdir(folder)  # names in the options need no escaping then
    _mount("overlay", "environment", "overlay", _READ_ONLY | _NO_SETUID | _NO_DEVICES,
           "lowerdir=layer:image")  # fmt: skip
    os.chdir("/")


def _become_server(hand: socket.socket, program: str, archive: Path) -> NoReturn:
    """Wait for the device, outside of the namespace, which would else never end; then serve it."""
    try:
        os.setsid()
        _, rights, _, _ = hand.recvmsg(1, socket.CMSG_LEN(_HAND))
        if rights:
            (device,) = array.array("i", rights[0][2])
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(device, 63)
            for number in range(3):
                os.dup2(null, number)
            os.closerange(3, 63)
            os.closerange(64, 4096)
            os.chdir("/")
            variables = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
            words = [program, "-f", "-o", "ro", str(archive), "/dev/fd/63"]
            os.execve(program, words, variables)  # noqa: S606 - it is no shell
    finally:
        os._exit(1)


# --- what Python before 3.12 has no words for --------------------------------------------------


def _call(name: str, *arguments: object) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    texts = [None if one is None else os.fsencode(one) for one in (source, target, kind, options)]
    _call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3])
