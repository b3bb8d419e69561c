"""What conda-lock needs of a `conda`: `create --dry-run --json`, solved by rattler.

No conda, mamba or micromamba can be had from PyPI, and conda-lock calls one of them as a program.
This stands in, and is faster than any of them: the peer's pipeline gains by it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys

import rattler
from rattler.platform import Subdir


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print("conda 25.1.0")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("create")
    parser.add_argument("--prefix")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--override-channels", action="store_true")
    parser.add_argument("--channel", action="append", default=[])
    parser.add_argument("specs", nargs="*")
    given = parser.parse_intermixed_args()
    records = asyncio.run(
        rattler.solve(
            given.channel,
            given.specs,
            platforms=[Subdir(os.environ["CONDA_SUBDIR"]), Subdir("noarch")],
        )
    )
    fetch = [
        {
            "name": record.name.normalized,
            "version": str(record.version),
            "url": record.url,
            "md5": record.md5.hex() if record.md5 else "",
            "sha256": record.sha256.hex() if record.sha256 else None,
            "depends": record.depends,
        }
        for record in records
        # conda-lock's virtual packages are a channel of its own
        if not record.name.normalized.startswith("__")
    ]
    links = [{"name": package["name"]} for package in fetch]
    print(json.dumps({"actions": {"FETCH": fetch, "LINK": links}}))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a thread of rattler's may still hand back the interpreter, and crash with it
