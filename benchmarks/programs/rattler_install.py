"""Install what a conda-lock file names, as py-rattler does by default.

rattler_install.py LOCKFILE PREFIX PACKAGE_CACHE
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import rattler


def main() -> None:
    lockfile, prefix, cache = map(Path, sys.argv[1:])
    environment = rattler.LockFile.from_path(lockfile).default_environment()
    if environment is None:
        sys.exit(f"{lockfile}: no environment")
    (platform,) = environment.platforms()
    records = environment.conda_repodata_records_for_platform(platform)
    asyncio.run(rattler.install(records or [], prefix, cache_dir=cache))


if __name__ == "__main__":
    main()
    os._exit(0)  # a thread of rattler's may still hand back the interpreter, and crash with it
