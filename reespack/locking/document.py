"""A lockfile's text: conda-lock's models, categories and content hash, around what was chosen."""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from reespack.locking.asked import name_mapping, quiet_conda_lock, source_spec, spec_digest
from reespack.locking.pip_half import git_reference, name_of
from reespack.locking.reading import (
    OVERRIDES,
    REVISIONS,
    SPEC,
    VIRTUAL_PACKAGES,
    as_url,
    stand_in_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rattler import RepoDataRecord

    from reespack.locking.halves import Halves
    from reespack.model import EnvironmentSpec, Repository
    from reespack.products import LockedPip

__all__ = ["HEADER", "dependencies_of", "input_sums", "lock_text"]

HEADER = """\
# This file pins every package of an environment, in the format of conda-lock
# (https://github.com/conda/conda-lock), version 1. It was written by reespack; do not edit it.
#
#     reespack build --locked          builds the environment from it
#     reespack lock --update PACKAGE   moves one package on
#     conda-lock install -n NAME FILE  installs it with conda, mamba or micromamba
"""


def lock_text(
    specs: Sequence[EnvironmentSpec],
    halves: Mapping[str, Halves],
    *,
    md5s: Mapping[str, str],
    assumed: Mapping[str, tuple[tuple[str, str, str], ...]],
    repository: Repository,
) -> str:
    """Return the lockfile's text: the same for the same choice, wherever and whenever.

    `md5s` are the md5 sums, by URL, of packages whose repodata has none: conda-lock insists.
    """
    with quiet_conda_lock():
        from conda_lock.content_hash import compute_content_hashes
        from conda_lock.lockfile.v2prelim.models import InputMeta, Lockfile, LockMeta
        from conda_lock.virtual_package import default_virtual_package_repodata

        source, environment = source_spec(specs, repository)
        packages: list[Any] = []
        for spec in specs:
            requested = source.dependencies[spec.platform]
            packages += _packages(spec, halves[spec.platform], requested, source.channels, md5s)
        hashes = compute_content_hashes(source, default_virtual_package_repodata())
        custom = _custom(specs, halves, assumed)
        sources = list(dict.fromkeys(path for spec in specs for path in spec.sources))
        others = [path for path in sources if path != environment and repository.is_file(path)]
        inputs = {path: InputMeta(**input_sums(repository.read_bytes(path))) for path in others}
        lockfile = Lockfile(
            package=packages,
            metadata=LockMeta(
                content_hash=hashes,
                channels=list(source.channels),
                platforms=[spec.platform for spec in specs],
                # What conda-lock itself can read again; the rest is told by its sums.
                sources=sources if environment is None else [environment],
                **({"inputs_metadata": inputs} if inputs else {}),
                custom_metadata=custom,
            ),
        )
        lockfile.alphasort_inplace()
        return HEADER + _yaml(lockfile.to_v1().dict_for_output())


def input_sums(content: bytes) -> dict[str, str]:
    """Return the sums of a source file as conda-lock's `--md input_sha` makes them of its text."""
    text = re.sub(r"\r\n?", "\n", content.decode("utf-8", errors="replace")).encode()
    return {
        "md5": hashlib.md5(text, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(text).hexdigest(),
    }


def _custom(
    specs: Sequence[EnvironmentSpec],
    halves: Mapping[str, Halves],
    assumed: Mapping[str, tuple[tuple[str, str, str], ...]],
) -> dict[str, str]:
    custom = {}
    for spec in specs:
        custom[SPEC + spec.platform] = spec_digest(spec)
        custom[VIRTUAL_PACKAGES + spec.platform] = " ".join(
            "=".join(package) for package in assumed[spec.platform]
        )
        overrides = [p.name for p in halves[spec.platform].pip if p.overrides]
        if overrides:
            custom[OVERRIDES + spec.platform] = " ".join(overrides)
        if revisions := _revisions(spec, halves[spec.platform].pip):
            custom[REVISIONS + spec.platform] = revisions
    return custom


def _revisions(spec: EnvironmentSpec, pip: Sequence[LockedPip]) -> str:
    """Return the revision that was asked of each git URL: the lock itself has commits alone."""
    asked = {name_of(r): git_reference(r.text) for r in spec.pip if r.path is None}
    found = [(one.name, asked.get(one.name)) for one in pip if one.kind == "git"]
    return " ".join(f"{name}={asked[1] or ''}" for name, asked in found if asked)


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    # What conda-lock's writer does, with libyaml where it is there: a tenth of the time.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(document, Dumper=dumper, sort_keys=False)
    return text


# --- what was chosen, in conda-lock's words ----------------------------------------------------


def _packages(
    spec: EnvironmentSpec,
    chosen: Halves,
    requested: Sequence[Any],
    channels: Sequence[Any],
    md5s: Mapping[str, str],
) -> list[Any]:
    """Return conda-lock's LockedDependency for each package, with its categories."""
    conda = {
        record.name.normalized: _conda_dependency(record, spec.platform, channels, md5s)
        for record in chosen.conda
    }
    pip = {one.name: _pip_dependency(one, spec.platform) for one in chosen.pip}
    _categorise(conda, [r for r in requested if r.manager == "conda"], {})
    by_pip_name: dict[str, list[Any]] = {name: [one] for name, one in pip.items()}
    mapping: dict[str, str] = {}
    for name, one in chosen.provided.items():
        mapping[name] = one.package
        by_pip_name.setdefault(name, []).append(conda[one.package])
    named = {one.package for one in chosen.provided.values()}
    for name in conda.keys() - named:
        by_pip_name.setdefault(canonicalize_name(name), []).append(conda[name])
    _categorise(by_pip_name, [r for r in requested if r.manager == "pip"], mapping)
    packages = [*conda.values(), *pip.values()]
    for package in packages:
        # What no file asked for: reespack's own additions and what came along with them.
        package.categories = package.categories or {"main"}
    return packages


def _categorise(
    planned: Mapping[str, Any], requested: Iterable[Any], mapping: Mapping[str, str]
) -> None:
    """Let conda-lock say to which of the user's categories each package belongs."""
    from conda_lock.lockfile import apply_categories

    known = {r.name: r for r in requested if r.name in planned}
    if all(request.category == "main" for request in known.values()):
        return
    with name_mapping(mapping) as url:
        for name, request in known.items():
            # A dependency that is in neither half (one of another platform) is a KeyError there.
            with contextlib.suppress(KeyError):
                apply_categories(
                    requested={name: request},
                    planned=planned,
                    convert_to_pip_names=request.manager == "pip",
                    mapping_url=url,
                )


def _conda_dependency(
    record: RepoDataRecord, platform: str, channels: Sequence[Any], md5s: Mapping[str, str]
) -> Any:  # noqa: ANN401
    from conda_lock.lockfile.v2prelim.models import HashModel, LockedDependency
    from conda_lock.models.channel import normalize_url_with_placeholders

    from reespack.channels import without_credentials

    url = normalize_url_with_placeholders(record.url, channels=list(channels))
    return LockedDependency(
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        manager="conda",
        platform=platform,
        dependencies=dependencies_of(record.depends),
        # A credential that no variable holds has no business in a file.
        url=url if "$" in url else without_credentials(url),
        hash=HashModel(
            md5=md5s[record.url] if record.md5 is None else record.md5.hex(),
            sha256=None if record.sha256 is None else record.sha256.hex(),
        ),
    )


def dependencies_of(depends: Iterable[str]) -> dict[str, str]:
    """Split match specs into names and the rest, joining two for one name as conda-lock does."""
    found: dict[str, str] = {}
    for depend in depends:
        match = re.match(r"([^\s<>=!~\[;]+)\s*(.*)", depend)
        if match is None:
            continue
        name, rest = match[1], match[2]
        before = found.get(name)
        if before and rest and " " not in before + rest:
            rest = f"{before},{rest}"
        found[name] = rest or before or ""
    return found


def _pip_dependency(one: LockedPip, platform: str) -> Any:  # noqa: ANN401
    from conda_lock.lockfile.v2prelim.models import (
        DependencySource,
        HashModel,
        LockedDependency,
    )

    direct = one.kind in {"git", "project"}
    return LockedDependency(
        name=one.name,
        version=one.version,
        manager="pip",
        platform=platform,
        dependencies=dict(one.depends),
        url=as_url(one),
        hash=HashModel(sha256=one.sha256 or stand_in_hash(one.url)),
        # conda-lock installs by name and version unless there is a source.
        source=DependencySource(type="url", url=as_url(one)) if direct else None,
    )
