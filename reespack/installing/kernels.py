"""The kernelspecs outside of environments: where Jupyter looks, and which of them are reespack's.

Jupyter need not be installed. The folders are those of jupyter_core's `jupyter_path`
(https://docs.jupyter.org/en/latest/use/jupyter-directories.html).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.errors import StoreError, UsageError
from reespack.files import remove_tree
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reespack.installing.unpacking import Installation
    from reespack.store_settings import StoreSettings

__all__ = ["InstalledKernel", "find_kernels", "install_kernel", "kernel_folder", "remove_kernel"]

_NAME = re.compile(r"[a-z0-9._-]+")


class InstalledKernel(Value):
    """A kernelspec that unpacks an archive on first use."""

    name: str
    path: Path
    digest: str
    archive: Path


def kernel_folder(environ: Mapping[str, str], *, prefix: Path | None = None) -> Path:
    """Return the folder that kernelspecs are installed to: the user's, or one in `prefix`."""
    if prefix is not None:
        return prefix.absolute() / "share" / "jupyter" / "kernels"
    return _user_data(environ) / "kernels"


def _user_data(environ: Mapping[str, str]) -> Path:
    given = environ.get("JUPYTER_DATA_DIR")
    if given:
        return Path(given).absolute()
    data = environ.get("XDG_DATA_HOME") or _home(environ) + "/.local/share"
    return Path(data).absolute() / "jupyter"


def _home(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME", "")
    if home:
        return home
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        raise UsageError(
            "there is no home folder for a kernelspec", hint="name a folder with --prefix"
        ) from None


def install_kernel(
    installation: Installation,
    folder: Path,
    *,
    name: str | None = None,
    settings: StoreSettings,
) -> InstalledKernel:
    """Put a kernelspec for an environment into `folder`, in the place of an earlier one.

    Its name is the environment's first kernel's unless `name` says otherwise. Raises UsageError for
    a name that Jupyter does not allow, or that somebody else's kernelspec has, and StoreError when
    the folder cannot be written to.
    """
    from reespack.archive import MANIFEST
    from reespack.kernelspec import write_launcher_kernelspec
    from reespack.manifest import kernelspecs_of, parse_manifest
    from reespack.products import Archive

    manifest = parse_manifest((installation.path / MANIFEST).read_bytes())
    kernel = kernelspecs_of(manifest)[0]
    wanted = (name or kernel.name).lower()
    if not _NAME.fullmatch(wanted):
        raise UsageError(
            f"{wanted!r} cannot be the name of a kernel",
            hint="use letters, digits, dots, hyphens and underscores",
        )
    target = folder / wanted
    path = installation.archive.absolute()
    present = _read(target)
    if present is None and (target.exists() or target.is_symlink()):
        raise UsageError(
            f"{target} is another kernel", hint="choose another name with --name, or remove it"
        )
    contents = manifest["contents"]
    archive = Archive(
        path=path,
        format=_form(path),
        sha256=installation.digest,
        size=path.stat().st_size,
        unpacked_size=contents["size"],
        files=contents["files"],
        tree_digest=contents["tree_digest"],
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be made: {error.strerror}", hint="name another with --prefix"
        ) from error
    write_launcher_kernelspec(
        target,
        kernel,
        archive=archive,
        source=installation.path / kernel.path,
        defaults=_defaults(settings),
    )
    return InstalledKernel(name=wanted, path=target, digest=installation.digest, archive=path)


def _form(path: Path) -> Any:  # noqa: ANN401 - one of three literals
    from reespack.archive.frames import form_of

    form = form_of(path)
    return form if form == "squashfs" else f"tar.{form}"


def _defaults(settings: StoreSettings) -> dict[str, str]:
    """Return what the launcher, which reads no settings files, has to know of them."""
    values = {
        "REESPACK_STORE": str(settings.store or ""),
        "REESPACK_STORE_ORDER": " ".join(settings.order),
        "REESPACK_SHARED_STORE": str(settings.shared or ""),
        "REESPACK_STORE_OWNERS": " ".join(settings.owners),
    }
    return {name: value for name, value in values.items() if value}


def find_kernels(folders: Sequence[Path]) -> tuple[InstalledKernel, ...]:
    """Return reespack's kernelspecs in some folders."""
    found = []
    for folder in folders:
        if folder.is_dir():
            kernels = (_read(path) for path in sorted(folder.iterdir()))
            found += [kernel for kernel in kernels if kernel is not None]
    return tuple(found)


def remove_kernel(kernel: InstalledKernel) -> None:
    """Remove a kernelspec; raise StoreError when that cannot be."""
    try:
        remove_tree(kernel.path)
    except OSError as error:
        raise StoreError(f"{kernel.path} cannot be removed: {error.strerror}") from error


def _read(path: Path) -> InstalledKernel | None:
    """Return the kernelspec in a folder, if it is one of reespack's for an archive."""
    try:
        content = json.loads((path / "kernel.json").read_bytes())
        archive = content["metadata"]["reespack"]["archive"]
        return InstalledKernel(
            name=path.name,
            path=path,
            digest=str(archive["sha256"]),
            archive=Path(archive["path"]),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
