"""Disks on which there is little room: small ones, and a real quota, as users of a cluster have."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["give_more_room", "in_namespace", "under_quota"]


def in_namespace(folder: Path, options: str) -> list[str]:
    """Return the words that run a command where `folder` is a small disk of its own, or skip."""
    mount = f'mount -t tmpfs -o {options} tmpfs "{folder}" && exec "$@"'
    for words in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        command = [*words, "sh", "-c", mount, "sh"]
        if shutil.which("unshare") is None:
            break
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
            return command
    pytest.skip("a disk can be mounted neither as root nor in a namespace")


@contextmanager
def under_quota(folder: Path, size: str) -> Iterator[None]:
    """Make `folder` one whose content may take `size` and no more, on a disk that has room."""
    if os.geteuid() != 0 or shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs root and btrfs-progs, for a quota")
    image, disk = folder.with_name(f"{folder.name}.img"), folder.with_name(f"{folder.name}.disk")
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(2 << 30)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    if subprocess.run(
        ["mount", "-o", "loop", image, disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("no image can be mounted here")
    try:
        part = disk / "part"
        for words in (
            ("subvolume", "create", part),
            ("quota", "enable", disk),
            ("qgroup", "limit", size, part),
        ):
            subprocess.run(["btrfs", *words], check=True, capture_output=True)
        part.chmod(0o700)
        folder.mkdir()
        subprocess.run(["mount", "--bind", part, folder], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
        image.unlink()


def give_more_room(folder: Path) -> None:
    """Lift the quota."""
    subprocess.run(["btrfs", "qgroup", "limit", "none", folder], check=True, capture_output=True)
