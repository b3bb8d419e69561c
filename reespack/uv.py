"""The one way to call uv, and the package index that it asks.

uv is the program of the PyPI package `uv`. It reads `UV_*` variables and `uv.toml`, but neither
`PIP_*` nor pip.conf; `PackageIndex` carries those over, so that a site's mirror counts once.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reespack.locks import has_flock, local_folder
from reespack.process import Completed, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["PackageIndex", "run_uv", "uv_program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIndex:
    """Where Python distributions come from.

    The fields stand for pip's settings of the same names; a `UV_*` variable that says the same
    thing wins. `cache` is uv's cache folder, None for uv's own default.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    cache: Path | None = None
    offline: bool = False

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that make uv follow these settings, over those of `environ`."""
        wanted = {
            "UV_DEFAULT_INDEX": self.index_url,
            "UV_INDEX": " ".join(self.extra_index_urls),
            "UV_FIND_LINKS": ",".join(self.find_links),
            "SSL_CERT_FILE": self.cert,
            "ALL_PROXY": self.proxy,
            "UV_INSECURE_HOST": " ".join(self.trusted_hosts),
        }
        older_names = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
        said = {
            name: value
            for name, value in wanted.items()
            if value and name not in environ and older_names.get(name, name) not in environ
        }
        merged = {**environ, **said}
        if "UV_INDEX" in said:
            # pip, whose setting this is, takes the best version that any of the indexes has.
            merged.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
        if self.cache is not None:
            merged["UV_CACHE_DIR"] = str(self.cache)
        if self.offline:
            merged["UV_OFFLINE"] = "1"
        # An interpreter is never downloaded: the environment brings its own.
        merged["UV_PYTHON_DOWNLOADS"] = "never"
        merged["UV_NO_PROGRESS"] = "1"
        merged.pop("VIRTUAL_ENV", None)
        merged.pop("CONDA_PREFIX", None)
        return merged


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
