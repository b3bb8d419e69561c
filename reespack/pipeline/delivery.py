"""From a kept build to the files in the output folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.archive.names import KERNELSPEC, MANIFEST_BESIDE, SELF_EXTRACTING
from reespack.deliver import deliver_file, write_sums
from reespack.files import sha256_file
from reespack.pipeline.plan import stem_of
from reespack.pipeline.request import BuildResult

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.pipeline.plan import Plan
    from reespack.pipeline.request import BuildOptions

__all__ = ["deliver"]


def deliver(
    plan: Plan, kept: Path, *, key: str, options: BuildOptions, cached: bool
) -> BuildResult:
    """Put the files of a kept build into the output folder."""
    from reespack.kernelspec import write_launcher_kernelspec
    from reespack.manifest import archive_of, kernelspecs_of, parse_manifest

    output = options.output
    stem = stem_of(plan, key)
    files = {
        "archive": output / f"{stem}.{options.format}",
        "conda-lock.yml": output / f"{stem}.conda-lock.yml",
        "manifest.json": output / f"{stem}{MANIFEST_BESIDE}",
    }
    for name, target in files.items():
        deliver_file(kept / name, target)
    manifest = parse_manifest((kept / "manifest.json").read_bytes())
    archive = archive_of(manifest, files["archive"])
    kernelspec = write_launcher_kernelspec(
        output / f"{stem}{KERNELSPEC}",
        kernelspecs_of(manifest)[0],
        archive=archive,
        source=kept / "kernelspec",
    )
    written = [files["conda-lock.yml"], files["manifest.json"], *sorted(kernelspec.rglob("*"))]
    known = {path.relative_to(output).as_posix(): sha256_file(path) for path in written}
    run_script = None
    if options.self_extracting:
        from reespack.kernelspec import write_run_script

        run_script = write_run_script(output / f"{stem}{SELF_EXTRACTING}", archive=archive)
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
