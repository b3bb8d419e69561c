"""Putting a manifest together from the values of the pipeline.

Nothing of the machine or the moment gets in: no time, no path, no user. The same input gives the
same document, byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from reespack.conda_records import read_records
from reespack.manifest.addresses import public_url
from reespack.manifest.installed import conda_packages, pip_packages
from reespack.manifest.reading import FORMAT_VERSION
from reespack.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reespack.model import Detection, EnvironmentSpec, Note, Repository
    from reespack.products import Archive, Kernelspec, Lock, Prefix

__all__ = [
    "SCHEMA_ID",
    "Contents",
    "DifferingFile",
    "make_manifest",
    "with_archive",
    "with_differing",
]

SCHEMA_ID = "https://reespack.readthedocs.io/schemas/manifest-1.schema.json"


class Contents(Protocol):
    """What the packer knows of an archive's content before it is written."""

    @property
    def unpacked_size(self) -> int:
        """Bytes in all files."""

    @property
    def files(self) -> int:
        """Members that are not folders."""

    @property
    def tree_digest(self) -> str:
        """The sha256 over path, mode and content of all of them."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the user should know."""


class DifferingFile(Protocol):
    """A file that is not the same in two builds of one input."""

    @property
    def path(self) -> str:
        """Where it is."""

    @property
    def what(self) -> str:
        """What of it differs."""

    @property
    def by(self) -> str | None:
        """Who brought it, where known."""


def make_manifest(  # noqa: PLR0913 - it sums up everything that the pipeline knows
    *,
    key: str,
    detection: Detection,
    spec: EnvironmentSpec,
    lock: Lock,
    prefix: Prefix,
    kernelspecs: Sequence[Kernelspec],
    contents: Contents,
) -> dict[str, Any]:
    """Return the manifest that goes into the archive.

    The packages are those that are installed in `prefix`, whoever put them there.
    """
    notes = (*detection.notes, *spec.notes, *lock.notes, *prefix.notes, *contents.notes)
    records = read_records(prefix.path, required=("name", "version", "build"))
    places = {str(prefix.path): "PREFIX", str(detection.repository.root): "."}
    return {
        "$schema": SCHEMA_ID,
        "format_version": FORMAT_VERSION,
        "name": spec.name,
        "key": key,
        "platform": spec.platform,
        "tool": {"name": "reespack", "version": VERSION},
        "repository": _repository(detection.repository),
        "buildpacks": [{"id": name, "version": version} for name, version in detection.buildpacks],
        "files": _files(detection),
        "lock": _lock(lock, spec.platform),
        "channels": [public_url(channel) for channel in spec.channels],
        "conda": conda_packages(prefix, records),
        "pip": pip_packages(prefix, records),
        "changes": [
            {"path": one.path, "change": one.change, "by": one.by, "package": one.package}
            for one in sorted(prefix.changes, key=lambda one: (one.path, one.by, one.change))
        ],
        "leftovers": sorted(prefix.leftovers),
        "contents": {
            "size": contents.unpacked_size,
            "files": contents.files,
            "tree_digest": contents.tree_digest,
        },
        "kernelspecs": [
            {
                "name": one.name,
                "display_name": one.display_name,
                "language": one.language,
                "path": one.path,
            }
            for one in kernelspecs
        ],
        "variables": dict(spec.variables),
        "post_build": spec.post_build,
        "start": spec.start,
        "notes": _notes(notes, places),
    }


def with_differing(manifest: dict[str, Any], files: Sequence[DifferingFile]) -> dict[str, Any]:
    """Return the manifest with the files that another build of the same input made differently.

    Where there are none, the field is left out: a build that was checked is then the same, byte
    for byte, as one that was not.
    """
    if not files:
        return manifest
    listed = [{"path": one.path, "what": one.what, "by": one.by} for one in files]
    return {**manifest, "differing": listed}


def with_archive(manifest: dict[str, Any], archive: Archive) -> dict[str, Any]:
    """Return the manifest that lies beside the archive: it knows the archive's own sum."""
    return {
        **manifest,
        "archive": {
            "file": archive.path.name,
            "format": archive.format,
            "size": archive.size,
            "sha256": archive.sha256,
        },
    }


def _repository(repository: Repository) -> dict[str, Any]:
    return {
        "name": repository.name,
        "url": public_url(repository.url) if repository.url else None,
        "commit": repository.commit,
        "dirty": repository.dirty,
        "subdir": repository.subdir,
    }


def _files(detection: Detection) -> list[dict[str, Any]]:
    return [
        {
            "path": file.path,
            "sha256": file.sha256,
            "verdict": file.verdict.value,
            "reason": file.reason,
            "buildpack": file.buildpack,
        }
        for file in sorted(detection.files, key=lambda file: file.path)
    ]


def _lock(lock: Lock, platform: str) -> dict[str, Any]:
    virtual = dict(lock.virtual_packages).get(platform, ())
    return {
        "sha256": lock.digest,
        "given": lock.given,
        "virtual_packages": [
            {"name": name, "version": version, "build": build}
            for name, version, build in sorted(virtual)
        ],
    }


def _notes(notes: Iterable[Note], places: dict[str, str]) -> list[dict[str, Any]]:
    def portable(text: str | None) -> str | None:
        for place, sign in places.items():
            text = text.replace(place, sign) if text else text
        return text

    return [
        {
            "level": note.level,
            "message": portable(note.message),
            "hint": portable(note.hint),
            "origin": str(note.origin) if note.origin else None,
        }
        for note in dict.fromkeys(notes)
    ]
