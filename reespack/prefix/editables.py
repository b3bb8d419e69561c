"""Editable installs, which point out of an environment, replaced by real ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reespack.errors import InstallError, PostBuildError
from reespack.files import write_atomic
from reespack.model import Note
from reespack.prefix.distributions import distributions, drop_foreign_lines, normalized
from reespack.prefix.pip_half import install_wheels, local_wheel, tidy_metadata
from reespack.products import LockedPip
from reespack.site_packages import site_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.package_index import PackageIndex
    from reespack.prefix.wheels import WheelBuilder
    from reespack.progress import Progress

__all__ = ["replace_editables", "tidy_installed"]


def replace_editables(
    path: Path, *, builder: WheelBuilder, index: PackageIndex, scratch: Path, progress: Progress
) -> Iterator[Note]:
    """Install for good what is installed in editable mode from a folder outside of `path`.

    Yields a note for each, and for each line of a .pth file that still leads out. Raises
    PostBuildError when a project cannot be built.
    """
    for name, project in sorted(dict(_editables(path)).items()):
        if project.is_relative_to(path):
            continue
        if not project.is_dir():
            raise PostBuildError(
                f"{name} is installed in editable mode from {project}, which is not there",
                hint="install it without -e",
            )
        source = project
        if not project.is_relative_to(scratch):
            # Somebody's own folder: a build would leave its traces there.
            source = scratch / f"editable-{name}"
            shutil.copytree(project, source, symlinks=True)
        try:
            file = builder.build(source, what=name)
            package = LockedPip(name=name, version="", url=file.as_uri(), kind="project")
            _forget_links(path, name, project)
            wheels = [local_wheel(package, file)]
            install_wheels(wheels, path=path, index=index, scratch=scratch, progress=progress)
        except InstallError as error:
            raise PostBuildError(
                f"{name}, installed in editable mode by postBuild, cannot be installed for good: "
                f"{error.message}",
                hint="install it without -e, or list it in the requirements",
                detail=error.detail,
            ) from error
        yield Note(
            message=f"{name} was installed in editable mode; it is now installed for good",
            hint="an archive cannot point into the repository: write `pip install .` without -e",
        )
    yield from _lines_that_lead_out(path)


def tidy_installed(path: Path) -> None:
    """Remove the paths of this machine from the metadata of all distributions."""
    for distribution in list(distributions(path)):
        tidy_metadata(distribution, None)
        drop_foreign_lines(distribution, path)


def _editables(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of each editable install: PEP 660 ones and `setup.py develop`."""
    for distribution in distributions(path):
        said = distribution.direct_url
        info = said.get("dir_info")
        if isinstance(info, dict) and info.get("editable"):
            parts = urlsplit(str(said.get("url", "")))
            folder = Path(unquote(parts.path))
            below = said.get("subdirectory")
            yield distribution.name, folder / below if isinstance(below, str) else folder
    for link in _in_site_packages(path, "*.egg-link"):
        first, *rest = link.read_text(encoding="utf-8").splitlines() or [""]
        # The second line leads from the package's folder (perhaps src) to the project's.
        up = rest[0].strip() if rest else "."
        yield normalized(link.stem), (Path(first.strip()) / up).resolve()


def _forget_links(path: Path, name: str, project: Path) -> None:
    """Remove what `setup.py develop` leaves, which uv does not always recognise."""
    for link in _in_site_packages(path, "*.egg-link"):
        if normalized(link.stem) == name:
            link.unlink()
    for easy in _in_site_packages(path, "easy-install.pth"):
        lines = easy.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not Path(line.strip()).is_relative_to(project)]
        if kept:
            write_atomic(easy, "\n".join(kept) + "\n")
        else:
            easy.unlink()


def _lines_that_lead_out(path: Path) -> Iterator[Note]:
    for file in _in_site_packages(path, "*.pth"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("/") and not Path(line.strip()).is_relative_to(path):
                yield Note(
                    message=f"{file.name} puts {line.strip()} on Python's path; "
                    "it will not be there where the archive is unpacked",
                    hint="install the package instead of pointing to its folder",
                )


def _in_site_packages(path: Path, pattern: str) -> list[Path]:
    return [file for folder in site_packages(path) for file in sorted(folder.glob(pattern))]
