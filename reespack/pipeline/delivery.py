"""From a kept build to the files in the output folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.archive.names import KERNELSPEC, MANIFEST_BESIDE, SELF_EXTRACTING
from reespack.deliver import deliver_file, write_sums
from reespack.files import sha256_file
from reespack.pipeline.kept import ARCHIVE, LAUNCHER, LOCKFILE, MANIFEST
from reespack.pipeline.plan import stem_of
from reespack.pipeline.request import BuildResult

if TYPE_CHECKING:
    from reespack.pipeline.kept import Kept
    from reespack.pipeline.plan import Plan
    from reespack.pipeline.request import BuildOptions

__all__ = ["deliver"]


def deliver(
    plan: Plan, kept: Kept, *, key: str, options: BuildOptions, cached: bool
) -> BuildResult:
    """Put the files of a kept build into the output folder."""
    from reespack.kernelspec import write_launcher_kernelspec
    from reespack.manifest import archive_of, kernelspecs_of

    output = options.output
    stem = stem_of(plan, key)
    lockfile = output / f"{stem}.conda-lock.yml"
    manifest_file = output / f"{stem}{MANIFEST_BESIDE}"
    archive = archive_of(kept.manifest, output / f"{stem}.{options.format}")
    deliver_file(kept.folder / ARCHIVE, archive.path)
    deliver_file(kept.folder / LOCKFILE, lockfile)
    deliver_file(kept.folder / MANIFEST, manifest_file)
    kernelspec = write_launcher_kernelspec(
        output / f"{stem}{KERNELSPEC}",
        kernelspecs_of(kept.manifest)[0],
        archive=archive,
        source=kept.folder / LAUNCHER,
    )
    written = [lockfile, manifest_file, *sorted(kernelspec.rglob("*"))]
    known = {path.relative_to(output).as_posix(): sha256_file(path) for path in written}
    run_script = None
    if options.self_extracting:
        from reespack.kernelspec import write_run_script

        run_script = write_run_script(output / f"{stem}{SELF_EXTRACTING}", archive=archive)
        known[run_script.name] = sha256_file(run_script)
    sums = write_sums(output, {archive.path.name: archive.sha256, **known})
    return BuildResult(
        key=key,
        archive=archive.path,
        lockfile=lockfile,
        manifest_file=manifest_file,
        kernelspec=kernelspec,
        sums=sums,
        manifest=kept.manifest,
        cached=cached,
        run_script=run_script,
    )
