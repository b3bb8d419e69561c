"""Spawn a server through a Hub's API; print the seconds until the first reply of a kernel in it.

    hub_first_reply.py URL TOKEN OPTIONS

The clock starts with the request that spawns, and stops at the answer to `1 + 1` on the kernel's
websocket. The server is stopped afterwards.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.hub import Client

USER = "ada"


def main() -> None:
    url, token, options = sys.argv[1:]
    client = Client(url, token)
    body = {"user_options": json.loads(options)}
    start = time.perf_counter()
    answer = client.api("POST", f"/users/{USER}/server", json=body)
    if answer.status_code != 201:
        sys.exit(f"{answer.status_code}: {answer.text}")
    with client.kernel(USER) as execute:
        execute("1 + 1")
        seconds = time.perf_counter() - start
    client.stop_server(USER)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
