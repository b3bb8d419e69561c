"""A small archive that `reespack exec` runs from, made without a channel."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from reespack.deliver import write_sums
from reespack.kernelspec import write_run_script
from reespack.kernelspec.activation import write_activation
from reespack.manifest import manifest_bytes, with_archive
from reespack.model import EnvironmentSpec, Repository
from reespack.pack import pack
from reespack.products import PlatformLock, Prefix

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from reespack.pack import Contents
    from reespack.products import Archive

START = '#!/bin/sh\nexport FROM_START=1\nexec "$@"\n'
# conda-unpack and the kernel find this one, as they would find an environment's own; and like those
# before Python 3.11, it does not run from a folder with a colon in its path.
PYTHON = f'#!/bin/sh\ncase $0 in *:*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'
LAUNCH = 'exec /bin/sh "${0%/share/*}/share/reespack/exec" "$@"\n'
KERNEL = "share/jupyter/kernels/small"


def make_archive(
    folder: Path, name: str = "small", *, form: str = "tar.zst", marks: int = 1
) -> Archive:
    """Pack an environment with a few files, with its manifest, sums and run.sh beside it.

    `marks` tells archives apart.
    """
    root = folder / "build"
    prefix = root / "environment"
    for path, content in {
        "bin/python": PYTHON,
        "bin/where": f"#!{prefix}/bin/python\nprint('{prefix}', {marks})\n",
        "etc/where": f"{prefix}\n" * marks,
        f"{KERNEL}/kernel.json": json.dumps({"argv": ["python"], "display_name": "Small"}),
        f"{KERNEL}/launch.sh": LAUNCH,
    }.items():
        file = prefix / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o755 if path.startswith("bin/") else 0o644)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/history").write_text("")
    (root / "start").write_text(START)
    spec = EnvironmentSpec(name=name, platform="linux-64", channels=(), start="start")
    repository = Repository(root=root, top=root, name=name, source=".")
    write_activation(prefix, spec, repository=repository)
    manifest: dict[str, Any] = {}

    def describe(contents: Contents) -> bytes:
        manifest.update(_manifest(name, contents))
        return manifest_bytes(manifest)

    archive = pack(
        Prefix(path=prefix, lock=PlatformLock(platform="linux-64", conda=())),
        target=folder / f"{name}.{form}",
        format=form,  # type: ignore[arg-type]
        describe=describe,
        mtime=1_600_000_000,
        threads=1,
    )
    beside = folder / f"{name}.manifest.json"
    beside.write_bytes(manifest_bytes(with_archive(manifest, archive)))
    run = write_run_script(folder / f"{name}.run.sh", archive=archive)
    write_sums(folder, {archive.path.name: archive.sha256})
    assert run.stat().st_size > archive.size
    return archive


def _manifest(name: str, contents: Contents) -> dict[str, Any]:
    """Return a manifest with all fields, most of them empty."""
    from reespack.manifest import schema

    kinds = {"array": [], "object": {}, "string": "", "integer": 0}
    properties = schema()["properties"]
    empty = {
        field: kinds.get(str(properties[field].get("type")), {}) for field in schema()["required"]
    }
    return {
        **empty,
        "format_version": 1,
        "name": name,
        "key": "0123456789ab",
        "platform": "linux-64",
        "kernelspecs": [{"name": name, "display_name": name, "language": "python", "path": KERNEL}],
        "contents": {
            "size": contents.unpacked_size,
            "files": contents.files,
            "tree_digest": contents.tree_digest,
        },
    }
