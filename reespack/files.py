"""Files that appear whole or not at all, and digests of them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import operator
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "current_umask",
    "remove_tree",
    "removed_afterwards",
    "replace_folder",
    "sha256_bytes",
    "sha256_file",
    "temporary_beside",
    "temporary_folder",
    "walk",
    "write_atomic",
]

_CHUNK = 1 << 18
"""Bytes that are read at once: a core's own cache has room for them."""

_ATTEMPTS = 20
_PAUSE = 0.1


def sha256_bytes(content: bytes) -> str:
    """Return the sha256 of `content`, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path, before_each: Callable[[], None] | None = None) -> str:
    """Return the sha256 of a file's content, in hexadecimal digits.

    `before_each` is called before each piece is added, and may raise so that it ends early.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            if before_each:
                before_each()
            digest.update(chunk)
    return digest.hexdigest()


def current_umask() -> int:
    """Return this process's umask.

    Linux tells it (proc(5), since 4.7). Elsewhere it must be set to be read, and what other threads
    make at that very moment gets the one that was set.
    """
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as status:  # noqa: PTH123
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Yield a path in `target`'s folder that takes its place at the end, or vanishes on failure.

    Whatever was at `target` stays until then. A file gets the mode that the umask gives.
    """
    import tempfile  # here, since many commands write nothing

    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~current_umask())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong before is what counts
            temporary.unlink()
        raise


def write_atomic(target: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it."""
    with temporary_beside(target) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str = ".tmp-") -> Iterator[Path]:
    """Yield a new folder (mode 0700) below `parent` that is gone afterwards, whatever happens."""
    folder = parent / f"{prefix}{os.urandom(8).hex()}"
    folder.mkdir(mode=0o700)
    with removed_afterwards(folder):
        yield folder


@contextlib.contextmanager
def removed_afterwards(folder: Path) -> Iterator[Path]:
    """Yield a folder, and remove it and all in it at the end, whatever happens.

    An error that leads to the end is raised, not one of the removing that comes of it.
    """
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            _remove_at_last(folder)
        raise
    _remove_at_last(folder)


def _remove_at_last(folder: Path) -> None:
    try:
        remove_tree(folder)
    except KeyboardInterrupt:
        remove_tree(folder)  # a second Ctrl-C is no reason to leave gigabytes behind
        raise


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, read-only folders too; nothing there is no error.

    Whoever still writes into it (rattler's threads do, for a moment after an install has failed)
    is waited for, two seconds at the most.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    with contextlib.suppress(OSError):
        path.rmdir()  # most of what is temporary is empty by then
        return
    import shutil  # it brings compressors that most commands do without

    shutil.rmtree(path, ignore_errors=True)
    for attempt in range(_ATTEMPTS):
        if not path.exists():
            return
        try:
            _open_folders(path)
            shutil.rmtree(path)
        except OSError as error:
            passing = error.errno in {errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST}
            if not passing or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE)


def replace_folder(source: Path, target: Path) -> None:
    """Put the folder `source` into the place of `target`, which may be there or not.

    Of several processes that do so at once, the last one's stays, whole. For a moment there is
    neither: POSIX has no way to exchange two folders.
    """
    with removed_afterwards(source.with_name(f"{source.name}.old")) as aside:
        try:
            while True:
                with contextlib.suppress(FileNotFoundError):
                    target.rename(aside)
                try:
                    source.rename(target)
                except OSError as error:
                    if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                        raise
                    remove_tree(aside)  # another process was quicker: its folder is next
                else:
                    return
        except BaseException:
            if not os.path.lexists(target):
                with contextlib.suppress(FileNotFoundError):
                    aside.rename(target)
            raise


def _open_folders(path: Path) -> None:
    """Let the owner into all folders of a tree, where that can be; links are not followed."""
    _open_folder(path)
    for folder, below, _ in os.walk(path):
        for name in below:
            _open_folder(Path(folder, name))


def _open_folder(folder: Path) -> None:
    # Where nothing is to be changed nothing is written: on a btrfs with a quota that is used up,
    # a change of mode is refused, and removing is not.
    with contextlib.suppress(OSError):  # whoever removes the folder is told
        mode = folder.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            folder.chmod(stat.S_IRWXU)


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield (path below `root`, entry) for everything in a tree, parents first, in sorted order.

    Links are yielded, never followed. Paths are POSIX strings.
    """
    pending: list[tuple[str, str]] = [("", str(root))]
    while pending:
        below, folder = pending.pop()
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=operator.attrgetter("name"))
        folders: list[tuple[str, str]] = []
        for entry in entries:
            path = f"{below}{entry.name}"
            yield path, entry
            if entry.is_dir(follow_symlinks=False):
                folders.append((f"{path}/", entry.path))
        pending.extend(reversed(folders))
