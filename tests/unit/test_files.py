"""What vanishes, vanishes whole."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from reespack.files import (
    current_umask,
    remove_tree,
    replace_folder,
    temporary_beside,
    temporary_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell it")
def test_the_umask_is_read_without_other_threads_getting_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(mask: int) -> NoReturn:
        pytest.fail(f"the umask was set to {mask:o}")

    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", fail)
            assert current_umask() == 0o027
    finally:
        os.umask(before)


def test_a_folder_that_is_still_written_to_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "build"
    (folder / "deep").mkdir(parents=True)
    stop = threading.Event()
    began = threading.Event()

    def write() -> None:
        for number in range(3000):
            if stop.is_set():
                break
            try:
                (folder / "deep").mkdir(parents=True, exist_ok=True)
                (folder / "deep" / str(number)).write_text("")
            except OSError:
                pass
            began.set()

    writer = threading.Thread(target=write)
    writer.start()
    began.wait()
    threading.Timer(0.3, stop.set).start()
    remove_tree(folder)
    stop.set()
    writer.join()
    remove_tree(folder)
    assert not folder.exists()


def test_a_folder_that_is_still_written_to_is_removed_where_a_quota_is_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Btrfs refuses changes of modes then, and such as change nothing; it removes all the same."""
    folder = tmp_path / "build"
    (folder / "deep").mkdir(parents=True)
    late = [folder / "late"]
    remove = os.rmdir

    def remove_late(path: str, *, dir_fd: int | None = None) -> None:
        if late and not (folder / "deep").exists():  # all that was there has gone
            late.pop().write_text("")  # somebody was quicker
        remove(path, dir_fd=dir_fd)

    def refuse(path: Path, _: int) -> NoReturn:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))

    monkeypatch.setattr(os, "rmdir", remove_late)
    monkeypatch.setattr(Path, "chmod", refuse)
    remove_tree(folder)
    assert not late
    assert not folder.exists()


def test_read_only_folders_go_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    folder = tmp_path / "build"
    (folder / "closed").mkdir(parents=True)
    (folder / "closed" / "file").write_text("")
    (folder / "link").symlink_to(kept)
    (folder / "closed").chmod(0o500)
    remove_tree(folder)
    assert not folder.exists()
    assert kept.stat().st_mode & 0o777 == 0o500


def test_of_many_that_replace_a_folder_at_once_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    names = [str(number) for number in range(5)]

    def replace(writer: int) -> None:
        for turn in range(20):
            source = tmp_path / f"{writer}-{turn}"
            source.mkdir()
            for name in names:
                (source / name).write_text(str(writer))
            replace_folder(source, target)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(replace, range(6)))
    assert sorted(path.name for path in target.iterdir()) == names
    assert len({path.read_text() for path in target.iterdir()}) == 1
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_gives_way_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").touch()
    replace_folder(tmp_path / "source", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize("make", [temporary_folder, lambda parent: temporary_beside(parent / "x")])
def test_an_error_of_the_cleaning_up_hides_none(
    make: Callable[[Path], AbstractContextManager[Path]],
    tmp_path: Path,
    closed: Callable[[Path], AbstractContextManager[None]],
) -> None:
    def work() -> None:
        with make(tmp_path):
            stack.enter_context(closed(tmp_path))
            raise ValueError("the first")

    with ExitStack() as stack, pytest.raises(ValueError, match="the first"):
        work()
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_of_the_cleaning_up_alone_is_told(
    tmp_path: Path, closed: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with ExitStack() as stack, pytest.raises(PermissionError), temporary_folder(tmp_path):
        stack.enter_context(closed(tmp_path))


@pytest.fixture
def closed() -> Callable[[Path], AbstractContextManager[None]]:
    """Return what closes a folder to everybody, root as well, for a while."""

    @contextmanager
    def closed(folder: Path) -> Iterator[None]:
        account = os.geteuid()
        folder.chmod(0)
        os.seteuid(account or NOBODY)  # root is let in everywhere
        try:
            yield
        finally:
            os.seteuid(account)
            folder.chmod(0o700)

    return closed
