"""Start the kernel of an environment; print the seconds until its first reply.

    first_reply.py ENVIRONMENT

The clock starts when the kernel's process is asked for and stops at the answer to `1 + 1`; loading
jupyter_client here is not counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager


def main() -> None:
    environment = Path(sys.argv[1])
    specs = KernelSpecManager(
        kernel_dirs=[str(environment / "share" / "jupyter" / "kernels")],
        ensure_native_kernel=False,
    )
    manager = KernelManager(kernel_name="python3", kernel_spec_manager=specs)
    spec = manager.kernel_spec
    if spec is None:
        sys.exit(f"{environment} has no kernel")
    if spec.argv[0] in {"python", "python3"}:  # jupyter_client would take its own
        spec.argv[0] = str(environment / "bin" / "python")
    start = time.perf_counter()
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels(hb=False, stdin=False)
    try:
        reply = client.execute("1 + 1", reply=True, timeout=120)
        seconds = time.perf_counter() - start
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    if reply["content"]["status"] != "ok":
        sys.exit(f"the kernel answered {reply['content']}")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
