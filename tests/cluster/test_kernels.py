"""A catalog's environments as kernels of another Jupyter: unpacked when first used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jupyter_client.manager import AsyncKernelManager
from lab import NUMPY

from reespack.hub.kernels import CatalogKernelSpecManager

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from lab import Lab


def test_a_kernel_is_unpacked_when_it_is_first_used(
    lab: Lab, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = lab.folder / "kernels"
    monkeypatch.setenv("REESPACK_STORE", str(store))
    specs = CatalogKernelSpecManager(catalog=str(catalog), groups=["ice"])
    assert {"reespack-alpha", "reespack-beta"} <= set(specs.find_kernel_specs())
    assert specs.get_kernel_spec("reespack-alpha").display_name == "Sea ice"
    assert specs.get_all_specs()["reespack-beta"]["spec"]["display_name"] == "Statistics"
    assert not store.exists()
    printed = asyncio.run(_run(specs, "reespack-beta", "import sys, numpy; print(sys.prefix)"))
    assert printed.startswith(f"{store}/")
    code = "import numpy; print(numpy.__version__)"
    assert asyncio.run(_run(specs, "reespack-beta", code)) == NUMPY["beta"]


def test_a_kernel_of_another_group_is_not_shown(catalog: Path) -> None:
    specs = CatalogKernelSpecManager(catalog=str(catalog))
    assert "reespack-alpha" not in specs.find_kernel_specs()
    assert "reespack-beta" in specs.find_kernel_specs()


async def _run(specs: CatalogKernelSpecManager, name: str, code: str) -> str:
    manager = AsyncKernelManager(kernel_name=name, kernel_spec_manager=specs)
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    printed: list[str] = []
    try:
        await client.wait_for_ready(timeout=60)
        await client.execute_interactive(
            code,
            timeout=60,
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
    return "".join(printed).strip()
