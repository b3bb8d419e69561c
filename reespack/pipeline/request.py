"""What is asked of the pipeline, and what comes out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reespack.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.comparing import Comparison

__all__ = ["BuildOptions", "BuildResult", "Request"]


class Request(Value):
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


class BuildOptions(Value):
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


class BuildResult(Value):
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
