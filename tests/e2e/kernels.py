"""Starting a kernel as a Jupyter does that knows nothing of reespack."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_client.blocking.client import BlockingKernelClient


@contextmanager
def kernel(
    folder: Path, name: str, *, cwd: Path, env: dict[str, str]
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    specs = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
    manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
    # jupyter_client adds nothing of its own environment to what it is given.
    manager.start_kernel(env=env, cwd=str(cwd), stderr=subprocess.DEVNULL)
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=120)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def value_of(client: BlockingKernelClient, expression: str) -> Any:  # noqa: ANN401 - as JSON has it
    code = f"import os, sys, json\nprint(json.dumps({expression}))"
    printed: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            printed.append(message["content"]["text"])

    reply = client.execute_interactive(code, output_hook=collect, timeout=60, allow_stdin=False)
    assert reply["content"]["status"] == "ok", reply["content"]
    return json.loads("".join(printed))
