"""Run two Hubs until stdin ends: one that reespack configures, and one without it.

    hubs.py FOLDER INSTALLED CATALOG

INSTALLED is what tests/cluster/set-up has filled. When both answer, one line of JSON says their
URLs and tokens: {"reespack": [URL, TOKEN], "plain": [URL, TOKEN]}.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.hub import Hub


def main() -> None:
    folder, installed, catalog = map(Path, sys.argv[1:])
    sides = {"reespack": {"BENCH_CATALOG": str(catalog)}, "plain": {}}
    with ExitStack() as stack:
        found = {}
        for name, more in sides.items():
            hub = Hub(
                folder / name,
                config=Path(__file__).with_name("jupyterhub_config.py"),
                installed=installed,
                environ={**os.environ, **more},
            )
            (hub.folder / "home").mkdir(parents=True)
            stack.callback(hub.stop)
            hub.start()
            found[name] = (hub.url, hub.token)
        print(json.dumps(found), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
