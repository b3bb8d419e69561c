"""The order of the phases, and the one cache look-up.

    Repository -> Detection -> EnvironmentSpec -> Lock -> Prefix -> Archive

Nothing else in reespack knows this order. Each phase is imported when its turn comes: a build that
finds its archive in the cache pays for neither a solver nor a compressor.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import platform as host
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from reespack.deliver import deliver_file, prepare_output, write_sums
from reespack.errors import LockError, UsageError
from reespack.files import sha256_bytes, sha256_file, write_atomic
from reespack.key import archive_key, lock_key
from reespack.model import Target
from reespack.progress import QUIET
from reespack.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reespack.archive.listing import Member
    from reespack.comparing import Comparison
    from reespack.config import Settings
    from reespack.model import (
        Archive,
        Detection,
        EnvironmentSpec,
        Lock,
        Note,
        Prefix,
        Repository,
    )
    from reespack.pack import Contents
    from reespack.progress import Progress
    from reespack.store import Cache

__all__ = [
    "BuildOptions",
    "BuildResult",
    "Request",
    "build",
    "detect",
    "host_platform",
    "lock",
    "specify",
]

PLATFORMS = (
    *("linux-64", "linux-aarch64", "linux-ppc64le", "linux-s390x", "linux-riscv64", "linux-32"),
    *("osx-64", "osx-arm64", "win-64", "win-arm64", "win-32"),
)
"""The platforms that conda-forge and its kin have, or had, packages for."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PREFIX_LENGTH = 100
"""Characters of the path that an environment is built at, where the cache's own is short enough."""
DEFAULT_MTIME = 315532800
"""1980-01-01T00:00:00Z, the first moment that every archive format can express."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which repository is meant, and what is asked of it beyond what it says itself.

    `channels` go in front of the repository's own; `server` adds JupyterLab and what a JupyterHub
    starts; `allow_empty` makes a default environment of a repository without REES files.
    """

    source: str
    ref: str | None = None
    subdir: str | None = None
    channels: tuple[str, ...] = ()
    server: bool = False
    allow_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What comes out, and where. `locked` forbids a solve; `update_lock` asks for one.

    `self_extracting` asks for one file more, which carries the archive and runs commands from it.

    `check_reproducible` builds twice, whatever the cache holds, and compares.
    """

    output: Path
    name: str | None = None
    format: Literal["tar.zst", "tar.gz", "squashfs"] = "tar.zst"
    locked: bool = False
    update_lock: bool = False
    self_extracting: bool = False
    check_reproducible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The files of one build, and its manifest. `cached` says that the archive was there already.

    Sizes are the manifest's (`archive.size`, in bytes). `comparison` is what two builds differ in,
    when that was to be checked.
    """

    key: str
    archive: Path
    lockfile: Path
    manifest_file: Path
    kernelspec: Path
    sums: Path
    manifest: dict[str, object]
    cached: bool
    run_script: Path | None = None
    comparison: Comparison | None = None


def host_platform() -> str:
    """Return the conda platform of this machine; UsageError when none is built natively."""
    machine = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}.get(host.machine())
    if host.system() != "Linux" or machine is None:
        raise UsageError(
            f"environments cannot be built on {host.system()} {host.machine()}",
            hint="reespack builds on Linux, x86_64 and aarch64; locks can be solved for any",
        )
    return machine


def _known(platform: str) -> str:
    if platform in PLATFORMS:
        return platform
    near = difflib.get_close_matches(platform, PLATFORMS, n=1)
    raise UsageError(
        f"there is no platform {platform!r}",
        hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(PLATFORMS)}",
    )


def _settings() -> Settings:
    from reespack.config import load_settings

    return load_settings()


# --- detection and spec ------------------------------------------------------------------------


def detect(
    request: Request,
    *,
    settings: Settings | None = None,
    platform: str | None = None,
    progress: Progress = QUIET,
) -> Detection:
    """Say what a repository holds, whether or not it can be built.

    Raises UsageError for a platform that there is not.
    """
    settings = settings or _settings()
    platform = _known(platform) if platform else host_platform()
    from reespack.detection import detect as detect_files
    from reespack.registry import load_buildpacks
    from reespack.repository import open_repository

    repository = open_repository(
        request.source,
        ref=request.ref,
        subdir=request.subdir,
        cache=settings.cache,
        offline=settings.offline,
        progress=progress,
    )
    target = Target(platform=platform, default_python=settings.default_python)
    return detect_files(repository, target=target, buildpacks=load_buildpacks())


def specify(
    detection: Detection,
    request: Request,
    *,
    settings: Settings | None = None,
    use_lockfile: bool = True,
) -> EnvironmentSpec:
    """Merge what the buildpacks contribute; refuse what cannot be honoured.

    Without `use_lockfile`, a lockfile in the repository is passed over, for a new solve.
    """
    from reespack.apt import load_apt_table
    from reespack.detection import require_usable
    from reespack.spec import make_spec

    settings = settings or _settings()
    require_usable(detection, allow_empty=request.allow_empty)
    return make_spec(
        detection,
        apt=settings.apt,
        apt_table=load_apt_table(settings.apt_table),
        allow_empty=request.allow_empty,
        default_channels=settings.channels,
        channels=request.channels,
        server=request.server,
        use_lockfile=use_lockfile,
    )


# --- lock --------------------------------------------------------------------------------------


def lock(  # noqa: PLR0913 - each is an option of the command
    request: Request,
    *,
    settings: Settings | None = None,
    platforms: Sequence[str] = (),
    previous: Path | None = None,
    update: Sequence[str] = (),
    progress: Progress = QUIET,
) -> Lock:
    """Pin what a repository asks for, on one platform or several, keeping what `previous` says."""
    from reespack.locking import lock as solve
    from reespack.locking import read_lock
    from reespack.store import Cache

    settings = settings or _settings()
    wanted = tuple(platforms) or (host_platform(),)
    cache = Cache(settings.cache)
    with cache.in_use(), cache.open_to_group():
        detections = [
            detect(request, settings=settings, platform=platform, progress=progress)
            for platform in wanted
        ]
        specs = [
            specify(detection, request, settings=settings, use_lockfile=False)
            for detection in detections
        ]
        _tell([note for spec in specs for note in spec.notes], progress)
        return solve(
            specs,
            repository=detections[0].repository,
            channels=settings.channel_settings(),
            index=settings.package_index(),
            previous=read_lock(previous.read_text(encoding="utf-8")) if previous else None,
            update=tuple(update),
            progress=progress,
        )


def _tell(notes: Sequence[Note], progress: Progress) -> None:
    """Pass notes on, each once however many platforms it holds for."""
    for note in dict.fromkeys(notes):
        message = f"{note.origin}: {note.message}" if note.origin else note.message
        if note.level == "warning":
            progress.warn(message, hint=note.hint)
        else:
            progress.detail(message)


# --- build -------------------------------------------------------------------------------------


def build(
    request: Request,
    *,
    options: BuildOptions,
    settings: Settings | None = None,
    progress: Progress = QUIET,
) -> BuildResult:
    """Make the archive, lockfile, manifest and kernelspec of a repository in `options.output`.

    An archive that the same input led to before comes out of the cache, without a solve or an
    install. Raises a ReespackError of the phase that cannot be done; nothing is left then.
    """
    from reespack.repository import content_digest
    from reespack.store import Cache

    settings = settings or _settings()
    cache = Cache(settings.cache, below=settings.shared_cache)
    with cache.in_use():
        with cache.open_to_group():
            detection = _named(detect(request, settings=settings, progress=progress), options.name)
        spec = specify(detection, request, settings=settings, use_lockfile=not options.update_lock)
        _tell(spec.notes, progress)
        prepare_output(options.output)
        plan = _Plan(
            detection=detection,
            spec=spec,
            cache=cache,
            settings=settings,
            progress=progress,
            content=content_digest(detection.repository) if _needs_content(spec) else None,
        )
        with cache.open_to_group():
            pin = _pin(plan, options)
            key = _key(plan, pin, options)
            if options.check_reproducible:
                return _build_twice(plan, pin.read(), key=key, options=options)
            kept, cached = _find_or_make(plan, pin, key=key, options=options)
        return _deliver(plan, kept, key=key, options=options, cached=cached)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a build knows before it pins anything; `content` is the digest of the whole tree."""

    detection: Detection
    spec: EnvironmentSpec
    cache: Cache
    settings: Settings
    progress: Progress
    content: str | None

    @property
    def repository(self) -> Repository:
        return self.detection.repository

    @property
    def mtime(self) -> int:
        """Every member's time: SOURCE_DATE_EPOCH, else the commit's, else 1980."""
        given = os.environ.get("SOURCE_DATE_EPOCH", "")
        return int(given) if given.isdigit() else self.repository.commit_time or DEFAULT_MTIME


def _find_or_make(plan: _Plan, pin: _Pin, *, key: str, options: BuildOptions) -> tuple[Path, bool]:
    """Return the folder of a kept build, and whether another build had made it."""
    kept = plan.cache.find_artifact(key)
    if kept is None:
        with plan.cache.lock(f"artifact-{key}", progress=plan.progress):
            kept = plan.cache.find_artifact(key)
            if kept is None:
                return _make(plan, pin.read(), key=key, options=options), False
    plan.progress.step(
        f"Nothing has changed: {key} comes from the cache, without a solve or an install"
    )
    return kept, True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pin:
    """A lock by its digest, and how to have it: a cached archive needs no more than the digest."""

    digest: str
    read: Callable[[], Lock]


def _pin(plan: _Plan, options: BuildOptions) -> _Pin:
    """Find the repository's own lock, the one that this request led to, or make a new one."""
    spec, progress = plan.spec, plan.progress
    channels, index = plan.settings.channel_settings(), plan.settings.package_index()
    if spec.lockfile is not None:
        content = plan.repository.read_bytes(spec.lockfile.path)
        return _Pin(digest=sha256_bytes(content), read=partial(_given, plan))
    if options.locked:
        raise LockError(
            "the repository has no lockfile, and --locked forbids a solve",
            hint="make one with `reespack lock` and commit it",
        )
    sources = {
        "channels": [channels.resolved(name) for name in spec.channels],
        "index": dataclasses.asdict(dataclasses.replace(index, cache=None)),
    }
    key = lock_key(spec, version=VERSION, content=plan.content, sources=sources)
    known = None if options.update_lock else plan.cache.find_lock(key)
    if known is None:
        with plan.cache.lock(f"solve-{key[:12]}", progress=progress):
            # Another build may have solved it while this one waited.
            known = None if options.update_lock else plan.cache.find_lock(key)
            if known is None:
                known = _solve(plan, key)
    # Read again even if it was just made: the archive must not depend on whether the lock came out
    # of the cache, which keeps no notes. That pip's choice replaces conda's stands in the lock.
    return _Pin(digest=sha256_bytes(known.encode()), read=partial(_parsed, known))


def _solve(plan: _Plan, key: str) -> str:
    from reespack.locking import lock as solve

    made = solve(
        (plan.spec,),
        repository=plan.repository,
        channels=plan.settings.channel_settings(),
        index=plan.settings.package_index(),
        progress=plan.progress,
    )
    plan.cache.keep_lock(key, made.text)
    _tell(made.notes, plan.progress)
    return made.text


def _given(plan: _Plan) -> Lock:
    from reespack.locking import given_lock

    lock = given_lock(
        plan.spec,
        repository=plan.repository,
        channels=plan.settings.channel_settings(),
        progress=plan.progress,
    )
    _tell(lock.notes, plan.progress)
    return lock


def _parsed(text: str) -> Lock:
    from reespack.locking import read_lock

    return read_lock(text)


def _named(detection: Detection, name: str | None) -> Detection:
    """Let the repository go by another name; it becomes part of file names."""
    if name is None:
        return detection
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be part of a file name",
            hint="use letters, digits, dots, hyphens and underscores",
        )
    repository = dataclasses.replace(detection.repository, name=name)
    return dataclasses.replace(detection, repository=repository)


def _needs_content(spec: EnvironmentSpec) -> bool:
    """Say whether more of the repository than its REES files has a part in the build."""
    hooks = spec.post_build is not None or spec.start is not None
    return hooks or any(requirement.path is not None for requirement in spec.pip)


def _key(plan: _Plan, pin: _Pin, options: BuildOptions) -> str:
    return archive_key(
        plan.spec,
        plan.detection,
        lock_digest=pin.digest,
        version=VERSION,
        content=plan.content,
        name=plan.repository.name,
        archive_format=options.format,
        mtime=plan.mtime,
    )


def _stem(plan: _Plan, key: str) -> str:
    return f"{plan.repository.name}-{key}-{plan.spec.platform}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What a build made in its folder: files by their names in the cache, and what is in them."""

    files: dict[str, Path]
    archive: Archive
    manifest: dict[str, Any]
    members: tuple[Member, ...]


def _make(plan: _Plan, lock: Lock, *, key: str, options: BuildOptions) -> Path:
    """Install and pack; return the folder in the cache that holds what came out."""
    with plan.cache.build_folder() as folder:
        made = _make_in(folder, plan, lock, key=key, options=options)
        return plan.cache.keep_artifact(key, made.files)


def _make_in(  # noqa: PLR0913 - what is made, where, and how
    folder: Path,
    plan: _Plan,
    lock: Lock,
    *,
    key: str,
    options: BuildOptions,
    amend: Callable[[dict[str, Any], Contents, Prefix], dict[str, Any]] | None = None,
) -> _Made:
    """Install and pack in `folder`; `amend` may change the manifest before it is written."""
    from reespack.bytecode import compile_sources, with_own_bundles
    from reespack.kernelspec import add_kernelspecs, write_launcher_kernelspec
    from reespack.manifest import make_manifest, manifest_bytes, with_archive
    from reespack.pack import pack
    from reespack.prefix import make_prefix

    spec, settings, repository = plan.spec, plan.settings, plan.repository
    pinned = lock.for_platform(spec.platform)
    if pinned is None:
        raise LockError(f"the lock has nothing for {spec.platform}")
    prefix = make_prefix(
        spec,
        pinned,
        path=_build_prefix(folder),
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
    _tell(prefix.notes, plan.progress)
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
    # One at a time: two would compile the same, and put their bundles in each other's place.
    with plan.cache.lock("bytecode", progress=plan.progress):
        bytecode = compile_sources(
            prefix,
            cache=plan.cache.bytecode,
            shared_cache=below / "bytecode" if below else None,
            threads=settings.threads,
            progress=plan.progress,
        )
        bytecode = with_own_bundles(bytecode, folder / "bytecode")
    embedded: dict[str, Any] = {}
    members: list[Member] = []

    def first_member(contents: Contents) -> bytes:
        members[:] = contents.members
        manifest = about(contents=contents)
        embedded.update(amend(manifest, contents, prefix) if amend else manifest)
        return manifest_bytes(embedded)

    archive = pack(
        prefix,
        target=folder / f"{_stem(plan, key)}.{options.format}",
        format=options.format,
        describe=first_member,
        mtime=plan.mtime,
        threads=settings.threads,
        bytecode=bytecode,
        progress=plan.progress,
    )
    write_atomic(folder / "manifest.json", manifest_bytes(with_archive(embedded, archive)))
    write_atomic(folder / "conda-lock.yml", lock.text)
    write_launcher_kernelspec(
        folder / "kernelspec",
        kernelspecs[0],
        archive=archive,
        source=prefix.path / kernelspecs[0].path,
    )
    names = ("manifest.json", "conda-lock.yml", "kernelspec")
    return _Made(
        files={"archive": archive.path, **{name: folder / name for name in names}},
        archive=archive,
        manifest=embedded,
        members=tuple(members),
    )


def _build_prefix(folder: Path) -> Path:
    """Return a folder whose path has the same length wherever the cache lies, if that is enough.

    What is compiled during a build holds this path, and what is unpacked somewhere else has as
    much room for its own. Longer ones would not fit into a first line (`#!`, 127 characters).
    """
    room = PREFIX_LENGTH - len(str(folder)) - 1
    return folder / "env".ljust(max(room, 3), "_")


def _build_twice(plan: _Plan, lock: Lock, *, key: str, options: BuildOptions) -> BuildResult:
    """Build twice, the second time with other folders and ways; deliver what the second made.

    Where the two differ, its manifest lists the files, and it is not kept in the cache.
    """
    from reespack.comparing import compare
    from reespack.manifest import with_differing
    from reespack.surroundings import other_surroundings

    progress = plan.progress
    with plan.cache.lock(f"artifact-{key}", progress=progress):
        progress.step("building for the first time")
        with plan.cache.build_folder() as folder:
            first = _make_in(folder, plan, lock, key=key, options=options)
        found: list[Comparison] = []

        def amend(manifest: dict[str, Any], contents: Contents, prefix: Prefix) -> dict[str, Any]:
            comparison = compare(first.manifest, manifest, (first.members, contents.members))
            found[:] = [_attributed(comparison, first.manifest, prefix)]
            return with_differing(manifest, found[0].files or ())

        progress.step("building for the second time, in other surroundings")
        with plan.cache.build_folder() as folder:
            with other_surroundings():
                elsewhere = _elsewhere(plan, folder, options)
                place = folder / "2"  # short: see _build_prefix
                place.mkdir()
                made = _make_in(place, elsewhere, lock, key=key, options=options, amend=amend)
            comparison = found[0].with_sums(first.archive.sha256, made.archive.sha256)
            if comparison.equal:
                kept = plan.cache.keep_artifact(key, made.files)
            else:
                kept = folder / "made"
                kept.mkdir()
                for name, path in made.files.items():
                    path.rename(kept / name)
            result = _deliver(plan, kept, key=key, options=options, cached=False)
    return dataclasses.replace(result, comparison=comparison)


def _elsewhere(plan: _Plan, folder: Path, options: BuildOptions) -> _Plan:
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


def _deliver(
    plan: _Plan, kept: Path, *, key: str, options: BuildOptions, cached: bool
) -> BuildResult:
    """Put the files of a kept build into the output folder."""
    from reespack.kernelspec import write_launcher_kernelspec
    from reespack.manifest import archive_of, kernelspecs_of, parse_manifest

    output = options.output
    stem = _stem(plan, key)
    files = {
        "archive": output / f"{stem}.{options.format}",
        "conda-lock.yml": output / f"{stem}.conda-lock.yml",
        "manifest.json": output / f"{stem}.manifest.json",
    }
    for name, target in files.items():
        deliver_file(kept / name, target)
    manifest = parse_manifest((kept / "manifest.json").read_bytes())
    archive = archive_of(manifest, files["archive"])
    kernelspec = write_launcher_kernelspec(
        output / f"{stem}.kernelspec",
        kernelspecs_of(manifest)[0],
        archive=archive,
        source=kept / "kernelspec",
    )
    written = [files["conda-lock.yml"], files["manifest.json"], *sorted(kernelspec.rglob("*"))]
    known = {path.relative_to(output).as_posix(): sha256_file(path) for path in written}
    run_script = None
    if options.self_extracting:
        from reespack.kernelspec import write_run_script

        run_script = write_run_script(output / f"{stem}.run.sh", archive=archive)
        known[run_script.name] = sha256_file(run_script)
    sums = write_sums(output, {files["archive"].name: archive.sha256, **known})
    return BuildResult(
        key=key,
        archive=files["archive"],
        lockfile=files["conda-lock.yml"],
        manifest_file=files["manifest.json"],
        kernelspec=kernelspec,
        sums=sums,
        manifest=manifest,
        cached=cached,
        run_script=run_script,
    )
