"""What was asked, in conda-lock's words: its LockSpecification, which its content hash is of."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.model import ADDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reespack.model import EnvironmentSpec, Repository

__all__ = ["name_mapping", "parse_sources", "quiet_conda_lock", "source_spec", "spec_digest"]

_ENVIRONMENT_FILES = ("environment.yml", "environment.yaml")


def spec_digest(spec: EnvironmentSpec) -> str:
    """Return reespack's digest of all that a spec asks for, additions of its own included.

    Only what bears on the choice of packages counts: not where a request stands, nor the name.
    """
    content = {
        "channels": list(spec.channels),
        "conda": sorted(request.spec for request in spec.conda),
        "pip": sorted([r.text, r.path or "", *sorted(r.hashes)] for r in spec.pip),
        "constraints": sorted(r.text for r in spec.pip_constraints),
        "options": repr(spec.pip_options),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"sha256:{digest}"


@contextlib.contextmanager
def quiet_conda_lock() -> Iterator[None]:
    """Keep conda-lock's warnings, of what it leaves out, away from this program's stderr."""
    logger = logging.getLogger("conda_lock")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # Importing it warns, too, of what it has vendored.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def source_spec(specs: Sequence[EnvironmentSpec], repository: Repository) -> tuple[Any, str | None]:
    """Return conda-lock's LockSpecification of the sources, and the file that it comes from.

    From environment.yml it is made by conda-lock itself, so that its content hash is the one that
    conda-lock has for that file; from anything else, from the requests that files make.
    """
    environment = next(
        (
            path
            for path in specs[0].sources
            if path.rpartition("/")[2] in _ENVIRONMENT_FILES and repository.is_file(path)
        ),
        None,
    )
    if environment is not None:
        with contextlib.suppress(Exception):  # conda-lock raises whatever its parsers do
            spec = parse_sources(
                [repository.resolve(environment)],
                platforms=[spec.platform for spec in specs],
                channels=specs[0].channels,
            )
            return spec, environment
    return _spec_of_requests(specs), None


def parse_sources(files: Sequence[Path], *, platforms: list[str], channels: Sequence[str]) -> Any:  # noqa: ANN401
    """Have conda-lock read `files`; `channels` override theirs where they differ."""
    from conda_lock.conda_lock import make_lock_spec

    with empty_mapping() as mapping:
        found = make_lock_spec(
            src_files=list(files), platform_overrides=platforms, mapping_url=mapping
        )
        if tuple(channel.url for channel in found.channels) == tuple(channels):
            return found
        return make_lock_spec(
            src_files=list(files),
            platform_overrides=platforms,
            channel_overrides=list(channels),
            mapping_url=mapping,
        )


@contextlib.contextmanager
def empty_mapping() -> Iterator[str]:
    """Yield a mapping of names without entries, for conda-lock to read in place of its download.

    From environment.yml conda-lock looks up one name, pip, which its table maps to itself.
    """
    with name_mapping({}) as url:
        yield url


@contextlib.contextmanager
def name_mapping(names: Mapping[str, str]) -> Iterator[str]:
    """Yield the path of a table from Python's names to conda's, as conda-lock reads it."""
    table = {
        name: {"pypi_name": name, "conda_name": conda, "conda_forge": conda}
        for name, conda in names.items()
    }
    with tempfile.TemporaryDirectory(prefix="reespack-mapping-") as folder:
        path = Path(folder, "mapping.json")
        path.write_text(json.dumps(table))
        yield str(path)


def _spec_of_requests(specs: Sequence[EnvironmentSpec]) -> Any:  # noqa: ANN401
    from conda_lock.models.lock_spec import LockSpecification

    return LockSpecification(
        dependencies={spec.platform: list(_requested(spec)) for spec in specs},
        channels=list(specs[0].channels),
        sources=[],
    )


def _requested(spec: EnvironmentSpec) -> Iterator[Any]:
    from conda_lock.models.lock_spec import VersionedDependency
    from conda_lock.src_parser.conda_common import conda_spec_to_versioned_dep
    from conda_lock.src_parser.pyproject_toml import parse_python_requirement

    for request in spec.conda:
        if request.origin == ADDED:
            continue
        try:
            yield conda_spec_to_versioned_dep(request.spec, "main")
        except Exception:  # noqa: BLE001 - conda-lock raises whatever its parsers do
            yield VersionedDependency(name=request.name, version=request.spec)
    with empty_mapping() as mapping:
        for wanted in spec.pip:
            if wanted.origin == ADDED:
                continue
            try:
                yield parse_python_requirement(wanted.text, manager="pip", mapping_url=mapping)
            except Exception:  # noqa: BLE001 - the same
                yield VersionedDependency(
                    name=wanted.name or wanted.path or wanted.text,
                    manager="pip",
                    version=wanted.text,
                )
