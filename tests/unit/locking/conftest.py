"""A world of few packages, made on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.locks import LINUX, World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with Python 3.11, alpha 1 and 2, and beta, which needs an alpha."""
    world = World(tmp_path)
    world.conda("python", "3.11.7", subdir=LINUX)
    world.conda("alpha", "1.0", "python", provides="alpha==1.0")
    world.conda("alpha", "2.0", "python", provides="alpha==2.0")
    world.conda("beta-core", "1.0", "python", "alpha", provides="Beta_Dist==1.0")
    return world.done()
