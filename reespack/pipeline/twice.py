"""Building twice, in other surroundings, to see what differs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from reespack.pipeline.delivery import deliver
from reespack.pipeline.kept import Kept, keep
from reespack.pipeline.make import make_in

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.comparing import Comparison
    from reespack.pack import Contents
    from reespack.pipeline.plan import Plan
    from reespack.pipeline.request import BuildOptions, BuildResult
    from reespack.products import Lock, Prefix

__all__ = ["build_twice"]


def build_twice(plan: Plan, lock: Lock, *, key: str, options: BuildOptions) -> BuildResult:
    """Build twice, the second time with other folders and ways; deliver what the second made.

    Where the two differ, its manifest lists the files, and it is not kept in the cache.
    """
    from reespack.comparing import compare
    from reespack.manifest import with_archive, with_differing
    from reespack.surroundings import other_surroundings

    progress = plan.progress
    with plan.cache.lock(f"artifact-{key}", progress=progress):
        progress.step("building for the first time")
        with plan.cache.build_folder() as folder:
            first = make_in(folder, plan, lock, key=key, options=options)
        found: list[Comparison] = []

        def amend(manifest: dict[str, Any], contents: Contents, prefix: Prefix) -> dict[str, Any]:
            comparison = compare(first.manifest, manifest, (first.members, contents.members))
            found[:] = [_attributed(comparison, first.manifest, prefix)]
            return with_differing(manifest, found[0].files or ())

        progress.step("building for the second time, in other surroundings")
        with plan.cache.build_folder() as folder:
            with other_surroundings():
                elsewhere = _elsewhere(plan, folder, options)
                place = folder / "2"  # short: see build_prefix
                place.mkdir()
                made = make_in(place, elsewhere, lock, key=key, options=options, amend=amend)
            comparison = found[0].with_sums(first.archive.sha256, made.archive.sha256)
            if comparison.equal:
                kept = keep(plan.cache, key, made.files)
            else:
                (folder / "made").mkdir()
                for name, path in made.files.items():
                    path.rename(folder / "made" / name)
                manifest = with_archive(made.manifest, made.archive)
                kept = Kept(folder=folder / "made", manifest=manifest)
            result = deliver(plan, kept, key=key, options=options, cached=False)
    return dataclasses.replace(result, comparison=comparison)


def _elsewhere(plan: Plan, folder: Path, options: BuildOptions) -> Plan:
    """Return the plan of a build with another number of threads, of a copy of the repository."""
    from reespack.surroundings import in_reverse
    from reespack.working_copy import copy_repository

    settings = dataclasses.replace(plan.settings, threads=1 if plan.settings.threads > 1 else 2)
    repository = plan.repository
    if plan.content is not None:
        top = folder / "copy" / repository.top.name
        top.parent.mkdir()
        without = (plan.cache.root, options.output)
        root = copy_repository(repository, top, without=without)
        in_reverse(top)
        repository = dataclasses.replace(repository, root=root, top=top)
    detection = dataclasses.replace(plan.detection, repository=repository)
    return dataclasses.replace(plan, settings=settings, detection=detection)


def _attributed(comparison: Comparison, first: dict[str, Any], prefix: Prefix) -> Comparison:
    """Say of each file that differs who brought it; `first` is the other build's manifest."""
    from reespack.pack import bringer

    by = bringer(prefix)
    gone = {one["path"] for one in first["changes"] if one["by"] == "postBuild"}
    return dataclasses.replace(
        comparison,
        files=tuple(
            dataclasses.replace(one, by="postBuild" if one.path in gone else by(one.path))
            for one in comparison.files or ()
        ),
    )
