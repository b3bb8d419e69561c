"""The one way to call uv, the program of the PyPI package `uv`."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING

from reespack.locks import has_flock, local_folder
from reespack.process import Completed, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from reespack.package_index import PackageIndex

__all__ = ["run_uv", "uv_program"]


def _on_lockable(index: PackageIndex) -> PackageIndex:
    if index.cache is None:
        return index
    try:
        index.cache.mkdir(parents=True, exist_ok=True)
        lockable = has_flock(index.cache)
    except OSError:
        return index  # uv says what is wrong with it
    return index if lockable else dataclasses.replace(index, cache=local_folder("uv"))


@functools.cache
def uv_program() -> str:
    """Return the path of the uv program that came with reespack."""
    import uv

    return uv.find_uv_bin()


def run_uv(  # noqa: PLR0913 - they are those of `run`
    args: Sequence[str | Path],
    *,
    index: PackageIndex,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_output: Callable[[str], None] | None = None,
    timeout: float | None = None,
    umask: int | None = None,
) -> Completed:
    """Run uv; stdout is captured whole, stderr goes to `on_output` and the tail.

    `env` (this process's by default) is what the index's variables are laid over. uv does not work
    where there is no flock; a cache that lies there is left alone for one on this machine.
    """
    index = _on_lockable(index)
    variables = index.variables(os.environ if env is None else env)
    # There is no variable for this one.
    missing = index.no_index and "--no-index" not in args and args[0] in {"pip", "build"}
    flags = ["--no-index"] if missing else []
    return run(
        [uv_program(), *args, *flags],
        cwd=cwd,
        env=variables,
        timeout=timeout,
        on_output=on_output,
        capture_stdout=True,
        umask=umask,
    )
