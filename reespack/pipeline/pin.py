"""The lock of a build: the repository's own, one that the cache knows, or a new one."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from reespack.errors import LockError
from reespack.files import sha256_bytes
from reespack.key import lock_key
from reespack.pipeline.plan import tell
from reespack.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from reespack.pipeline.plan import Plan
    from reespack.pipeline.request import BuildOptions
    from reespack.products import Lock

__all__ = ["Pin", "find_pin"]


class Pin(NamedTuple):
    """A lock by its digest, and how to have it: a cached archive needs no more than the digest."""

    digest: str
    read: Callable[[], Lock]


def find_pin(plan: Plan, options: BuildOptions) -> Pin:
    """Find the repository's own lock, the one that this request led to, or make a new one."""
    spec, progress = plan.spec, plan.progress
    channels, index = plan.settings.channel_settings(), plan.settings.package_index()
    if spec.lockfile is not None:
        content = plan.repository.read_bytes(spec.lockfile.path)
        return Pin(digest=sha256_bytes(content), read=partial(_given, plan))
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
    return Pin(digest=sha256_bytes(known.encode()), read=partial(_parsed, known))


def _solve(plan: Plan, key: str) -> str:
    from reespack.locking import lock as solve
    from reespack.pipeline.memory import economize

    economize()
    made = solve(
        (plan.spec,),
        repository=plan.repository,
        channels=plan.settings.channel_settings(),
        index=plan.settings.package_index(),
        progress=plan.progress,
    )
    plan.cache.keep_lock(key, made.text)
    tell(made.notes, plan.progress)
    return made.text


def _given(plan: Plan) -> Lock:
    from reespack.locking import given_lock

    lock = given_lock(
        plan.spec,
        repository=plan.repository,
        channels=plan.settings.channel_settings(),
        progress=plan.progress,
    )
    tell(lock.notes, plan.progress)
    return lock


def _parsed(text: str) -> Lock:
    from reespack.locking import read_lock

    return read_lock(text)
