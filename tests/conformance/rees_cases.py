"""The cases below fixtures/rees, and the short form in which they state what is expected."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reespack.apt import load_apt_table
from reespack.detection import detect, require_usable
from reespack.errors import ReespackError
from reespack.json_form import to_json
from reespack.model import CondaRequirement, EnvironmentSpec, Repository, Target
from reespack.spec import make_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reespack.model import Detection, PipRequirement
    from reespack.registry import RegisteredBuildpack

CASES = Path(__file__).resolve().parents[2] / "fixtures" / "rees"
ROOT = "repository"


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    root: Path
    expected: dict[str, Any]

    @property
    def repository(self) -> Repository:
        return Repository(root=self.root, top=self.root, name="repository", source=str(self.root))

    @property
    def platform(self) -> str:
        return str(self.expected.get("options", {}).get("platform", "linux-64"))


def all_cases() -> list[Case]:
    return [
        Case(
            name=file.parent.name,
            root=file.parent.resolve() / ROOT,
            expected=json.loads(file.read_text(encoding="utf-8")),
        )
        for file in sorted(CASES.glob("*/expected.json"))
    ]


def outcome(case: Case, buildpacks: Sequence[RegisteredBuildpack]) -> dict[str, Any]:
    """Return what reespack makes of a case, in the form of expected.json."""
    options = dict(case.expected.get("options", {}))
    target = Target(platform=options.pop("platform", "linux-64"))
    stated = case.expected.get("options")
    found: dict[str, Any] = {"options": stated} if stated else {}
    try:
        detection = detect(case.repository, target=target, buildpacks=buildpacks)
        found["files"] = _files(detection)
        require_usable(detection, allow_empty=options.get("allow_empty", False))
        spec = make_spec(detection, apt_table=load_apt_table(), **options)
    except ReespackError as error:
        found["error"] = {"exit_code": error.exit_code, "message": error.message}
        found["error"] |= {"hint": error.hint} if error.hint else {}
        found["error"] |= {"detail": error.detail} if error.detail else {}
        return found
    found["spec"] = _spec(spec)
    notes = [
        f"{note.level}: {note.origin or ''}{': ' if note.origin else ''}{note.message}"
        for note in spec.notes
    ]
    return {**found, **({"notes": notes} if notes else {})}


def _files(detection: Detection) -> dict[str, list[str]]:
    return {
        file.path: [file.verdict.value, str(file.buildpack), file.reason]
        for file in detection.files
    }


def _spec(spec: EnvironmentSpec) -> dict[str, Any]:
    """Return what a spec says beyond its defaults; requests as [text, origin]."""
    short: dict[str, Any] = {}
    plain = EnvironmentSpec(name=spec.name, platform="linux-64", channels=())
    for name in (one.name for one in fields(spec)):
        value = getattr(spec, name)
        if value == getattr(plain, name) or name in {"sources", "notes"}:
            continue
        if name in {"conda", "pip", "pip_constraints"}:
            short[name] = [_request(one) for one in value]
        elif name == "pip_options":
            short[name] = {
                key: item for key, item in to_json(value).items() if item not in ([], None, False)
            }
        elif name == "variables":
            short[name] = dict(value)
        else:
            short[name] = to_json(value)
    return short


def _request(one: CondaRequirement | PipRequirement) -> list[Any]:
    """Return [text, origin], and for pip whatever else there is to know."""
    text = one.spec if isinstance(one, CondaRequirement) else one.text
    known: dict[str, Any] = to_json(one)
    more = {
        key: known[key]
        for key in ("path", "extras", "hashes", "editable")
        if known.get(key) not in (None, [], False)
    }
    return [text, str(one.origin), *([more] if more else [])]
