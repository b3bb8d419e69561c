"""The values of the pipeline as JSON: the stable form that `--json` prints.

A dataclass becomes an object with its fields' names, a tuple an array, an Enum its value, a path
a string; what is not given is null. Fields may be added within one format version; none is renamed
or removed.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reespack.model import Detection, EnvironmentSpec

__all__ = ["FORMAT", "Json", "detection_to_json", "spec_to_json", "to_json"]

FORMAT = 1
"""The version of the form, as `format` in each document."""

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def to_json(value: object) -> Json:
    """Return `value` made of what `json.dumps` takes; raise TypeError for what has no form."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if is_dataclass(value):
        return {one.name: to_json(getattr(value, one.name)) for one in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def spec_to_json(spec: EnvironmentSpec) -> dict[str, Json]:
    """Return a spec; `variables` is an object, since that is what they are."""
    form = to_json(spec)
    assert isinstance(form, dict)  # noqa: S101 - a dataclass is an object
    return {**form, "variables": dict(spec.variables)}


def detection_to_json(detection: Detection, spec: EnvironmentSpec | None) -> dict[str, Json]:
    """Return the document of `reespack detect --json`.

    `spec` is null for a repository that is refused, or has nothing to build from.
    """
    repository = detection.repository
    return {
        "format": FORMAT,
        "repository": {
            "name": repository.name,
            "source": repository.source,
            "url": repository.url,
            "ref": repository.ref,
            "commit": repository.commit,
            "dirty": repository.dirty,
            "subdir": repository.subdir,
        },
        "platform": detection.target.platform,
        "buildpacks": [{"id": name, "version": version} for name, version in detection.buildpacks],
        "files": to_json(detection.files),
        "notes": to_json(detection.notes if spec is None else spec.notes),
        "spec": None if spec is None else spec_to_json(spec),
    }
