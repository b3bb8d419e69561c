"""What vanishes, vanishes whole."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from reespack.files import remove_tree

if TYPE_CHECKING:
    from pathlib import Path


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
