"""The pack phase alone, as a whole process.

pack_prefix.py PLATFORM PREFIX ARCHIVE
"""

from __future__ import annotations

import sys
from pathlib import Path

from reespack.cores import available_cores
from reespack.model import PlatformLock, Prefix
from reespack.pack import pack


def main() -> None:
    platform, prefix, archive = sys.argv[1:]
    pack(
        Prefix(path=Path(prefix), lock=PlatformLock(platform=platform, conda=())),
        target=Path(archive),
        format="tar.zst",
        describe=lambda _contents: b"{}\n",
        mtime=315532800,
        threads=available_cores(),
    )


if __name__ == "__main__":
    main()
