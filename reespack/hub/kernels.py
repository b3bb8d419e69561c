"""The kernels of a catalog's environments in a site's own Jupyter server.

Then an environment needs no server, and one server has them all. In jupyter_server_config.py:

    c.ServerApp.kernel_spec_manager_class = "reespack.hub.kernels.CatalogKernelSpecManager"
    c.CatalogKernelSpecManager.catalog = "/shared/envs/catalog.yml"
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.provisioning import LocalProvisioner
from tornado.web import HTTPError
from traitlets import List, Unicode, default

from reespack.hub.builds import BUILD_OPTIONS, Builds, built_archive
from reespack.hub.choice import GROUPS_VARIABLE
from reespack.hub.offers import Offer, offers_of
from reespack.hub.watching import WatchedCatalog

if TYPE_CHECKING:
    from reespack.catalog import Entry

__all__ = ["ArchiveProvisioner", "CatalogKernelSpecManager"]

_PROVISIONER = "reespack-archive"
_KERNELS = "share/jupyter/kernels"


class CatalogKernelSpecManager(KernelSpecManager):  # type: ignore[misc] # jupyter_client's is Any
    """Finds the kernels that are installed, and those of a catalog's environments."""

    catalog = Unicode(help="The catalog's path.").tag(config=True)
    builds = Unicode(
        help="The folder of archives that the Hub has built; without it, only entries with an"
        " archive are offered."
    ).tag(config=True)
    build_options = List(
        Unicode(),
        default_value=list(BUILD_OPTIONS),
        help="The Hub's `build_options`, if it sets any: they choose among what was built.",
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
        self._told: set[str] = set()

    @default("groups")
    def _default_groups(self) -> list[str]:
        return [one for one in os.environ.get(GROUPS_VARIABLE, "").split(",") if one]

    def find_kernel_specs(self) -> dict[str, str]:
        """Return name -> folder of what is installed and of what the catalog offers."""
        found = {name: str(offer.folder) for name, offer in self._offered().items()}
        return {**super().find_kernel_specs(), **found}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernelspec; that of an environment bears its title, and unpacks it first."""
        offer = self._offered().get(kernel_name)
        if offer is None:
            return super().get_kernel_spec(kernel_name)
        try:
            spec = _spec_of(offer)
        except (OSError, ValueError) as error:
            raise NoSuchKernel(kernel_name) from error
        spec.display_name = offer.title
        spec.env = {**spec.env, **dict(offer.entry.variables)}
        config = {"launcher": str(offer.launcher), "kernel": offer.kernel}
        spec.metadata = {
            **spec.metadata,
            "kernel_provisioner": {"provisioner_name": _PROVISIONER, "config": config},
        }
        return spec

    def _offered(self) -> dict[str, Offer]:
        """Return the kernels of what this user may have and is there, by their names."""
        if not self.catalog:
            return {}
        if self._watched is None:
            self._watched = WatchedCatalog(Path(self.catalog))
        self._watched.refresh()
        offers = [
            offer
            for entry in self._watched.latest.allowed(frozenset(self.groups))
            for offer in self._offers(entry)
        ]
        offers.sort(key=lambda offer: bool(offer.name))  # entries' names go before `ENTRY-KERNEL`
        named: dict[str, Offer] = {}
        for offer in offers:
            name = f"{offer.entry.name}-{offer.name}" if offer.name else offer.entry.name
            named.setdefault(f"{self.prefix}{name}", offer)
        return named

    def _offers(self, entry: Entry) -> tuple[Offer, ...]:
        archive = entry.archive
        if archive is None and self.builds:
            builds = Builds(folder=Path(self.builds), command=(), options=tuple(self.build_options))
            archive = built_archive(builds.target(entry))
        if archive is None:
            return ()
        offers = offers_of(entry, archive)
        if not offers and entry.name not in self._told:
            self._told.add(entry.name)
            self.log.warning(
                "%s is offered as no kernel: what the build has left beside %s (.kernelspec,"
                " or .manifest.json for a .run.sh) is not there",
                entry.name,
                archive,
            )
        return offers


def _spec_of(offer: Offer) -> KernelSpec:
    if not offer.kernel:
        return KernelSpec.from_resource_dir(str(offer.folder))
    # The rest is in the environment, and is read when that has been unpacked.
    return KernelSpec(
        argv=["/bin/sh", str(offer.launcher), "{connection_file}"],
        language=offer.language,
        resource_dir=str(offer.folder),
    )


class ArchiveProvisioner(LocalProvisioner):  # type: ignore[misc] # jupyter_client's is Any
    """Unpacks a kernel's archive before the kernel starts, for Jupyter waits a minute at most."""

    launcher = Unicode(help="The script that unpacks the archive; launch.sh beside kernel.json.")
    kernel = Unicode(help="The kernelspec in the environment; without it, what kernel.json says.")

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - jupyter_client's
        """Unpack, and learn how the kernel is started; raise an HTTPError with what went wrong."""
        launcher = self.launcher or str(Path(self.kernel_spec.resource_dir) / "launch.sh")
        await self._run(launcher, "--unpack")
        if self.kernel:
            place = await self._run(launcher, "--where")
            self._complete(launcher, Path(place.removesuffix("\n")) / _KERNELS / self.kernel)
        made: dict[str, Any] = await super().pre_launch(**kwargs)
        return made

    def _complete(self, launcher: str, folder: Path) -> None:
        """Make the kernelspec what the environment's own says."""
        try:
            content = json.loads((folder / "kernel.json").read_bytes())
            argv = [argument.replace("{resource_dir}", str(folder)) for argument in content["argv"]]
        except (OSError, ValueError, LookupError) as error:
            raise _failure(
                f"the environment's kernel {self.kernel} cannot be read: {error}"
            ) from None
        spec = self.kernel_spec
        spec.argv = ["/bin/sh", launcher, "--run", *argv]
        spec.env = {**content.get("env", {}), **spec.env}
        spec.interrupt_mode = content.get("interrupt_mode", "signal")

    async def _run(self, launcher: str, what: str) -> str:
        """Run the launcher, with its words in the server's log; return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", launcher, what),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.kernel_spec.env},
        )
        assert process.stdout is not None  # noqa: S101 - it was asked for
        assert process.stderr is not None  # noqa: S101 - it was asked for
        printed, said = await asyncio.gather(process.stdout.read(), self._logged(process.stderr))
        if await process.wait():
            raise _failure(said or f"{launcher} failed")
        return printed.decode(errors="surrogateescape")

    async def _logged(self, stream: asyncio.StreamReader) -> str:
        """Pass lines on to the server's log as they come; return them."""
        lines = []
        async for line in stream:
            lines.append(line.decode(errors="replace").strip().removeprefix("reespack: "))
            self.log.info("%s: %s", self.kernel_spec.display_name, lines[-1])
        return "; ".join(lines)


def _failure(message: str) -> HTTPError:
    """Return what a Jupyter server shows to who wanted the kernel."""
    return HTTPError(500, message.replace("%", "%%"), reason="The kernel cannot be started")
