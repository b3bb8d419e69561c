"""The pack phase alone, as a whole process; with that of bytecode when a cache for it is given.

The process is set up, and left, as that of the command line.

pack_prefix.py PLATFORM PREFIX CACHE|none ARCHIVE
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.cli import COLLECT
from reespack.cores import available_cores
from reespack.pack import pack
from reespack.products import Bytecode, PlatformLock, Prefix

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    gc.set_threshold(*COLLECT)
    platform, path, cache, archive = sys.argv[1:]
    prefix = Prefix(path=Path(path), lock=PlatformLock(platform=platform, conda=()))
    threads = available_cores()

    def bytecode(records: Sequence[dict[str, Any]], files: Sequence[str]) -> tuple[Bytecode, ...]:
        if cache == "none":
            return ()
        from reespack.bytecode import compile_sources

        return compile_sources(prefix, records, files, cache=Path(cache), threads=threads)

    pack(
        prefix,
        target=Path(archive),
        format="tar.zst",
        describe=lambda _contents: b"{}\n",
        mtime=315532800,
        threads=threads,
        bytecode=bytecode,
    )


if __name__ == "__main__":
    main()
    os._exit(0)
