"""A catalog's environments as kernels of a site's own Jupyter server.

Then an environment needs no server, and one server has them all. In jupyter_server_config.py:

    c.ServerApp.kernel_spec_manager_class = "reespack.hub.kernels.CatalogKernelSpecManager"
    c.CatalogKernelSpecManager.catalog = "/shared/envs/catalog.yml"
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.provisioning import LocalProvisioner
from traitlets import List, Unicode, default

from reespack.hub.builds import Builds, built_archive
from reespack.hub.choice import GROUPS_VARIABLE
from reespack.hub.watching import WatchedCatalog

if TYPE_CHECKING:
    from reespack.catalog import Entry

__all__ = ["ArchiveProvisioner", "CatalogKernelSpecManager"]

_FORMS = (".tar.zst", ".tar.gz", ".squashfs")
_PROVISIONER = "reespack-archive"


class CatalogKernelSpecManager(KernelSpecManager):  # type: ignore[misc] # jupyter_client's is Any
    """Finds the kernels that are installed, and one for each environment of a catalog."""

    catalog = Unicode(help="The catalog's path.").tag(config=True)
    builds = Unicode(
        help="The folder of archives that the Hub has built; without it, only entries with an"
        " archive are offered."
    ).tag(config=True)
    groups = List(
        Unicode(),
        help="The user's groups, by default what `pass_groups` says. They choose what is shown;"
        " what may be read, the files' rights.",
    ).tag(config=True)
    prefix = Unicode("reespack-", help="What names of kernels begin with.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - traits
        super().__init__(**kwargs)
        self._watched: WatchedCatalog | None = None

    @default("groups")
    def _default_groups(self) -> list[str]:
        return [one for one in os.environ.get(GROUPS_VARIABLE, "").split(",") if one]

    def find_kernel_specs(self) -> dict[str, str]:
        """Return name -> folder of what is installed and of what the catalog offers."""
        found = {name: str(folder) for name, (_, folder) in self._offered().items()}
        return {**super().find_kernel_specs(), **found}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernelspec; that of an environment bears its title, and unpacks it first."""
        offered = self._offered().get(kernel_name)
        if offered is None:
            return super().get_kernel_spec(kernel_name)
        entry, folder = offered
        try:
            spec = KernelSpec.from_resource_dir(str(folder))
        except (OSError, ValueError) as error:
            raise NoSuchKernel(kernel_name) from error
        spec.display_name = entry.title
        spec.env = {**spec.env, **dict(entry.variables)}
        spec.metadata = {**spec.metadata, "kernel_provisioner": {"provisioner_name": _PROVISIONER}}
        return spec

    def _offered(self) -> dict[str, tuple[Entry, Path]]:
        """Return name -> entry and kernelspec folder, of what this user may have and is there."""
        if not self.catalog:
            return {}
        if self._watched is None:
            self._watched = WatchedCatalog(Path(self.catalog))
        self._watched.refresh()
        entries = self._watched.latest.allowed(frozenset(self.groups))
        folders = ((entry, self._folder(entry)) for entry in entries)
        return {
            f"{self.prefix}{entry.name}": (entry, folder)
            for entry, folder in folders
            if folder is not None
        }

    def _folder(self, entry: Entry) -> Path | None:
        """Return the kernelspec that a build has left beside an entry's archive."""
        archive = entry.archive
        if archive is None and self.builds:
            archive = built_archive(Builds(folder=Path(self.builds), command=()).target(entry))
        if archive is None:
            return None
        form = next((form for form in _FORMS if archive.name.endswith(form)), "")
        folder = archive.with_name(f"{archive.name.removesuffix(form)}.kernelspec")
        return folder if (folder / "kernel.json").is_file() else None


class ArchiveProvisioner(LocalProvisioner):  # type: ignore[misc] # jupyter_client's is Any
    """Unpacks a kernel's archive before the kernel starts, for Jupyter waits a minute at most."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - jupyter_client's
        """Run the kernelspec's launcher with --unpack; raise RuntimeError with what it says."""
        launcher = Path(self.kernel_spec.resource_dir) / "launch.sh"
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", str(launcher), "--unpack"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.kernel_spec.env},
        )
        _, said = await process.communicate()
        if process.returncode:
            raise RuntimeError(said.decode(errors="replace").strip() or f"{launcher} failed")
        made: dict[str, Any] = await super().pre_launch(**kwargs)
        return made
