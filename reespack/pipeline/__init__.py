"""The order of the phases, and the one cache look-up.

    Repository -> Detection -> EnvironmentSpec -> Lock -> Prefix -> Archive

Nothing else in reespack knows this order. Each phase is imported when its turn comes: a build that
finds its archive in the cache pays for neither a solver nor a compressor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.deliver import prepare_output
from reespack.model import Target
from reespack.pipeline import kept
from reespack.pipeline.delivery import deliver
from reespack.pipeline.pin import find_pin
from reespack.pipeline.plan import Plan, key_of, named, needs_content, tell
from reespack.pipeline.platforms import host_platform, known_platform
from reespack.pipeline.request import BuildOptions, BuildResult, Request
from reespack.progress import QUIET

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reespack.config import Settings
    from reespack.model import Detection, EnvironmentSpec
    from reespack.pipeline.kept import Kept
    from reespack.pipeline.pin import Pin
    from reespack.products import Lock
    from reespack.progress import Progress

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
    settings = settings or default_settings()
    platform = known_platform(platform) if platform else host_platform()
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

    settings = settings or default_settings()
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

    settings = settings or default_settings()
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
        tell([note for spec in specs for note in spec.notes], progress)
        return solve(
            specs,
            repository=detections[0].repository,
            channels=settings.channel_settings(),
            index=settings.package_index(),
            previous=read_lock(previous.read_text(encoding="utf-8")) if previous else None,
            update=tuple(update),
            progress=progress,
        )


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

    settings = settings or default_settings()
    cache = Cache(settings.cache, below=settings.shared_cache)
    with cache.in_use():
        with cache.open_to_group():
            detection = named(detect(request, settings=settings, progress=progress), options.name)
        spec = specify(detection, request, settings=settings, use_lockfile=not options.update_lock)
        tell(spec.notes, progress)
        prepare_output(options.output)
        plan = Plan(
            detection=detection,
            spec=spec,
            cache=cache,
            settings=settings,
            progress=progress,
            content=content_digest(detection.repository) if needs_content(spec) else None,
        )
        with cache.open_to_group():
            pin = find_pin(plan, options)
            key = key_of(plan, pin.digest, options)
            if options.check_reproducible:
                from reespack.pipeline.twice import build_twice

                return build_twice(plan, pin.read(), key=key, options=options)
            found, cached = _find_or_make(plan, pin, key=key, options=options)
        return deliver(plan, found, key=key, options=options, cached=cached)


def _find_or_make(plan: Plan, pin: Pin, *, key: str, options: BuildOptions) -> tuple[Kept, bool]:
    """Return the kept build, and whether another build had made it."""
    found = kept.find(plan.cache, key)
    if found is None:
        with plan.cache.lock(f"artifact-{key}", progress=plan.progress):
            found = kept.find(plan.cache, key)
            if found is None:
                from reespack.pipeline.make import make

                if any(plan.cache.find_artifacts(key)):
                    plan.progress.warn(f"{key} is damaged in the cache: it is made again")
                return make(plan, pin.read(), key=key, options=options), False
    plan.progress.step(
        f"Nothing has changed: {key} comes from the cache, without a solve or an install"
    )
    return found, True


def default_settings() -> Settings:
    from reespack.config import load_settings

    return load_settings()
