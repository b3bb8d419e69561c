"""From a lock to the files of a build: prefix, kernelspecs, bytecode, archive, manifest."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from reespack.errors import LockError
from reespack.files import remove_tree, write_atomic
from reespack.pipeline.kept import ARCHIVE, FRAMES, LAUNCHER, LOCKFILE, MANIFEST, keep
from reespack.pipeline.memory import economize, give_back
from reespack.pipeline.plan import stem_of, tell
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reespack.archive.listing import Member
    from reespack.pack import Contents
    from reespack.pack.earlier import EarlierFrames
    from reespack.pipeline.kept import Kept
    from reespack.pipeline.plan import Plan
    from reespack.pipeline.request import BuildOptions
    from reespack.products import Archive, Bytecode, Lock, Prefix

__all__ = ["Made", "make", "make_in"]

PREFIX_LENGTH = 100
"""Characters of the path that an environment is built at, where the cache's own is short enough."""

_ARCHIVES = 8
"""How many archives are looked into for frames. A repository's last one is rarely further back."""


class Made(Value):
    """What a build made in its folder: files by their names in the cache, and what is in them."""

    files: dict[str, Path]
    archive: Archive
    manifest: dict[str, Any]
    members: tuple[Member, ...]


def make(plan: Plan, lock: Lock, *, key: str, options: BuildOptions) -> Kept:
    """Install and pack; return what is kept in the cache of it."""
    with plan.cache.build_folder() as folder:
        made = make_in(folder, plan, lock, key=key, options=options, earlier=_earlier(plan))
        return keep(plan.cache, key, made.files)


def _earlier(plan: Plan) -> EarlierFrames:
    """Return the frames of the archives that were last made."""
    from reespack.pack.earlier import EarlierFrames, read_frames

    found = EarlierFrames()
    for folder in plan.cache.latest_artifacts(_ARCHIVES):
        found.add(folder / ARCHIVE, read_frames(folder / FRAMES))
    return found


def make_in(  # noqa: PLR0913 - what is made, where, and how
    folder: Path,
    plan: Plan,
    lock: Lock,
    *,
    key: str,
    options: BuildOptions,
    earlier: EarlierFrames | None = None,
    amend: Callable[[dict[str, Any], Contents, Prefix], dict[str, Any]] | None = None,
) -> Made:
    """Install and pack in `folder`; `amend` may change the manifest before it is written.

    What archives in `earlier` have is not compressed again.
    """
    from reespack.bytecode import compile_sources, with_own_bundles
    from reespack.kernelspec import add_kernelspecs, write_launcher_kernelspec
    from reespack.manifest import make_manifest, manifest_bytes, with_archive
    from reespack.pack import pack
    from reespack.pack.earlier import frames_document
    from reespack.prefix import make_prefix

    economize()
    spec, settings, repository = plan.spec, plan.settings, plan.repository
    pinned = lock.for_platform(spec.platform)
    if pinned is None:
        raise LockError(f"the lock has nothing for {spec.platform}")
    prefix = make_prefix(
        spec,
        pinned,
        path=build_prefix(folder),
        repository=repository,
        channels=settings.channel_settings(),
        index=settings.package_index(),
        cache=plan.cache.root,
        shared_cache=plan.cache.below,
        timeout=settings.timeout,
        threads=settings.threads,
        when=plan.mtime,
        progress=plan.progress,
    )
    tell(prefix.notes, plan.progress)
    kernelspecs = add_kernelspecs(prefix, spec, repository=repository)
    about = partial(
        make_manifest,
        key=key,
        detection=plan.detection,
        spec=spec,
        lock=lock,
        prefix=prefix,
        kernelspecs=kernelspecs,
    )
    below = plan.cache.below

    def bytecode(records: Sequence[dict[str, Any]], files: Sequence[str]) -> tuple[Bytecode, ...]:
        # One at a time: two would compile the same, and put their bundles in each other's place.
        with plan.cache.lock("bytecode", progress=plan.progress):
            found = compile_sources(
                prefix,
                records,
                files,
                cache=plan.cache.bytecode,
                shared_cache=below / "bytecode" if below else None,
                threads=settings.threads,
                progress=plan.progress,
            )
            return with_own_bundles(found, folder / "bytecode")

    resources = folder / "resources"
    shutil.copytree(prefix.path / kernelspecs[0].path, resources)
    embedded: dict[str, Any] = {}
    members: list[Member] = []
    give_back()  # packing takes more memory than all before it
    with ThreadPoolExecutor(1) as beside:

        def first_member(contents: Contents) -> bytes:
            members[:] = contents.members
            manifest = about(contents=contents)
            embedded.update(amend(manifest, contents, prefix) if amend else manifest)
            # Everything has been read, and nobody looks at the environment again.
            beside.submit(remove_tree, prefix.path)
            return manifest_bytes(embedded)

        archive = pack(
            prefix,
            target=folder / f"{stem_of(plan, key)}.{options.format}",
            format=options.format,
            describe=first_member,
            mtime=plan.mtime,
            threads=settings.threads,
            bytecode=bytecode,
            earlier=earlier,
            progress=plan.progress,
        )
    write_atomic(folder / MANIFEST, manifest_bytes(with_archive(embedded, archive)))
    write_atomic(folder / LOCKFILE, lock.text)
    write_launcher_kernelspec(
        folder / LAUNCHER,
        kernelspecs[0],
        archive=archive,
        source=resources,
    )
    write_atomic(folder / FRAMES, frames_document(archive.frames))
    names = (MANIFEST, LOCKFILE, LAUNCHER, FRAMES)
    return Made(
        files={ARCHIVE: archive.path, **{name: folder / name for name in names}},
        archive=archive,
        manifest=embedded,
        members=tuple(members),
    )


def build_prefix(folder: Path) -> Path:
    """Return a folder whose path has the same length wherever the cache lies, if that is enough.

    What is compiled during a build holds this path, and what is unpacked somewhere else has as
    much room for its own. Longer ones would not fit into a first line (`#!`, 127 characters).
    """
    room = PREFIX_LENGTH - len(str(folder)) - 1
    return folder / "env".ljust(max(room, 3), "_")
