"""A server that runs from a squashfs archive which is mounted and not unpacked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import NUMPY, build_options, run

from testbed.waiting import wait_for

if TYPE_CHECKING:
    from lab import Lab

    from testbed.hub import Hub

CODE = """
import json, numpy, os, subprocess, sys
pip = subprocess.run(["pip", "--version"], capture_output=True, text=True).stdout
print(json.dumps([sys.prefix, numpy.__version__, pip, os.access(sys.prefix, os.W_OK), os.getuid()]))
"""


def as_user(user: str) -> list[str]:
    return ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []


@pytest.fixture
def user(lab: Lab) -> str:
    """Return an account that can mount."""
    for name in ("squashfuse", "mksquashfs", "unsquashfs", "unshare"):
        if shutil.which(name) is None:
            pytest.skip(f"there is no {name}")
    user = lab.people[0]
    if subprocess.run([*as_user(user), "sh", "-c", ": <>/dev/fuse"], check=False).returncode:
        pytest.skip(f"{user} cannot open /dev/fuse")
    if subprocess.run([*as_user(user), "unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip(f"{user} can make no namespace")
    return user


@pytest.fixture
def image(lab: Lab, archives: dict[str, Path], channel: Path) -> Path:
    """Return the archive beta once more, as an image."""
    assert "beta" in archives
    printed = run(
        *(lab.builder, "-m", "reespack", "build", str(lab.folder / "repositories" / "beta")),
        *("--quiet", "--format", "squashfs", "--with", "server", "-o", str(lab.folder / "image")),
        *build_options(channel),
        environ=lab.environ,
    )
    return Path(printed.strip())


def test_a_server_runs_from_a_mounted_image(
    local_hub: Hub, lab: Lab, user: str, image: Path
) -> None:
    catalog = lab.catalog.read_text()
    lab.catalog.write_text(f"{catalog}  image:\n    title: An image\n    archive: {image}\n")
    try:
        spawn = local_hub.spawn(user, {"environment": "image"})
        assert spawn.ready, (spawn.events, local_hub.log)
        prefix, numpy, pip, writable, uid = json.loads(local_hub.execute(user, CODE))
        assert prefix.endswith("-mounted/environment")
        assert numpy == NUMPY["beta"]
        assert f"from {prefix}/" in pip
        assert (writable, uid) == (False, int(run("id", "-u", user)))
        # Nothing of it is seen from outside, and it ends with the server.
        assert run(*as_user(user), "ls", "-A", prefix) == ""
        assert served(image)
        local_hub.stop_server(user)
        wait_for(lambda: not served(image), seconds=30, what="the end of squashfuse")
    finally:
        lab.catalog.write_text(catalog)


def served(image: Path) -> bool:
    """Whether a process serves the image."""
    ps = ["ps", "-eww", "-o", "args"]
    lines = subprocess.run(ps, check=True, capture_output=True, text=True).stdout.splitlines()
    return any("squashfuse" in line and str(image) in line for line in lines)
