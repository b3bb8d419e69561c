"""Pipfile and Pipfile.lock: pipenv's files."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from buildpacks.malformed import at, malformed
from buildpacks.pipfile_packages import pipfile_requirement
from buildpacks.toml_source import TomlFile, read_toml
from reespack.buildpack import API, PACKAGES, Claim, Contribution, Evidence
from reespack.model import LanguageVersion, Note, PipOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.model import Origin, PipRequirement, Repository, Target

__all__ = ["Pipfile"]

_RANK = 50
_PYPI = ("https://pypi.org/simple", "https://pypi.python.org/simple")
_SECTIONS = ("packages", "dev-packages")
_LOCK_SECTIONS = ("default", "develop")


class Pipfile:
    """pipenv's requests, or its lock where there is one; dev packages too, as repo2docker does."""

    id = "Pipfile"
    api = API
    files: tuple[str, ...] = ("Pipfile", "Pipfile.lock")
    slot: str | None = PACKAGES
    rank = 60

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a Pipfile or a Pipfile.lock."""
        pipfile, lock = repository.find("Pipfile"), repository.find("Pipfile.lock")
        if pipfile is None and lock is None:
            return None
        claims = []
        if lock:
            claims.append(Claim(path=lock, reason="pip packages, with versions and digests"))
        if pipfile:
            reason = "the source of Pipfile.lock" if lock else "pip packages"
            claims.append(Claim(path=pipfile, reason=reason))
        return Evidence(claims=tuple(claims))

    def contribute(
        self,
        repository: Repository,
        evidence: Evidence,  # noqa: ARG002 - the two names are fixed
        target: Target,  # noqa: ARG002 - markers are left to the resolver
    ) -> Contribution:
        """Return the packages; from the lock where there is one."""
        pipfile, lock = repository.find("Pipfile"), repository.find("Pipfile.lock")
        toml = read_toml(repository, pipfile) if pipfile else None
        if lock is None:
            return _from_pipfile(toml, repository) if toml else Contribution()
        return _from_lock(lock, toml, repository)


def _from_pipfile(toml: TomlFile, repository: Repository) -> Contribution:
    pip: list[PipRequirement] = []
    for section in _SECTIONS:
        for name, wanted in toml.table(section).items():
            pip.append(pipfile_requirement(name, wanted, toml.place(section, name), repository))
    sources = toml.data.get("source", [])
    if not isinstance(sources, list):
        raise malformed(toml.place("source"), "`source` is not a list", "write it as [[source]]")
    options, notes = _sources(sources, toml.place("source"))
    requires = toml.table("requires")
    places = {key: toml.place("requires", key) for key in requires}
    return Contribution(
        pip=tuple(dict.fromkeys(pip)),
        pip_options=options,
        language_versions=_python(requires, places),
        languages=("python",),
        notes=notes,
    )


def _from_lock(path: str, toml: TomlFile | None, repository: Repository) -> Contribution:
    text = repository.read_text(path)
    data = _parsed(text, path)
    meta = _object(data.get("_meta", {}), at(path), "_meta")
    pip: list[PipRequirement] = []
    for section in _LOCK_SECTIONS:
        for name, wanted in _object(data.get(section, {}), at(path), section).items():
            origin = at(path, _line_of_key(text, name))
            pip.append(pipfile_requirement(name, wanted, origin, repository))
    options, notes = _sources(meta.get("sources", []), at(path, _line_of_key(text, "sources")))
    requires = _object(meta.get("requires", {}), at(path), "requires")
    places = {key: at(path, _line_of_key(text, key)) for key in requires}
    recorded = _object(meta.get("hash", {}), at(path), "hash").get("sha256")
    if toml is not None and recorded != _pipfile_hash(toml):
        message = f"{path} does not belong to the {toml.path} beside it, and is used all the same"
        stale = Note(message=message, hint="run `pipenv lock` and commit both", origin=at(path))
        notes = (*notes, stale)
    return Contribution(
        pip=tuple(dict.fromkeys(pip)),
        pip_options=options,
        language_versions=_python(requires, places),
        languages=("python",),
        notes=notes,
    )


def _parsed(text: str, path: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise malformed(
            at(path, error.lineno), f"is not JSON: {error.msg}", "`pipenv lock` writes it anew"
        ) from error
    return _object(data, at(path, 1), "the top")


def _object(value: object, origin: Origin, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise malformed(origin, f"{what} is not an object", "`pipenv lock` writes it anew")
    return value


def _line_of_key(text: str, key: str) -> int | None:
    found = re.search(rf"^\s*{re.escape(json.dumps(key))}\s*:", text, re.MULTILINE)
    return text[: found.end()].count("\n") + 1 if found else None


def _sources(sources: Iterable[object], origin: Origin) -> tuple[PipOptions, tuple[Note, ...]]:
    """Return the indexes; PyPI is left to the user's own settings, which may mirror it."""
    urls: list[str] = []
    notes: list[Note] = []
    for source in sources:
        if not isinstance(source, dict) or not isinstance(source.get("url"), str):
            raise malformed(origin, "a source has no `url`")
        url = source["url"].rstrip("/")
        if "$" in url:
            raise malformed(
                origin,
                f"the source {url} would be completed from the environment of whoever builds",
                "write the value itself; index credentials belong in the user's own settings",
            )
        if source.get("verify_ssl") is False:
            message = "verify_ssl = false is ignored: certificates are always checked"
            notes.append(Note(message=message, origin=origin))
        urls.append(url)
    first = urls[0] if urls and urls[0] not in _PYPI else None
    others = tuple(url for url in urls[1:] if url not in _PYPI)
    if first and any(url in _PYPI for url in urls[1:]):
        others = (*others, _PYPI[0])
    return PipOptions(index_url=first, extra_index_urls=others), tuple(notes)


def _python(requires: dict[str, Any], places: dict[str, Origin]) -> tuple[LanguageVersion, ...]:
    """Return the Python asked for: python_full_version before python_version."""
    for key in ("python_full_version", "python_version"):
        if key not in requires:
            continue
        version = requires[key]
        if not isinstance(version, str) or not re.fullmatch(r"\d+(\.\d+){0,2}|\*", version):
            raise malformed(
                places[key],
                f"{key} = {json.dumps(version)} is not a version",
                'write `python_version = "3.11"`',
            )
        if version == "*":
            continue
        exact = version.count(".") == 2  # noqa: PLR2004 - major.minor.patch
        wanted = version if exact else f"{version}.*"
        return (LanguageVersion(language="python", version=wanted, origin=places[key], rank=_RANK),)
    return ()


def _pipfile_hash(toml: TomlFile) -> str:
    """Return the digest of a Pipfile that pipenv records in the lock (plette's `get_hash`)."""
    known = {"source", "requires", "packages", "dev-packages", "pipenv", "scripts"}
    default = [{"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": True}]
    data = {
        "_meta": {
            "sources": toml.data.get("source", default),
            "requires": toml.data.get("requires", {}),
        },
        "default": toml.data.get("packages", {}),
        "develop": toml.data.get("dev-packages", {}),
    }
    data |= {name: value for name, value in toml.data.items() if name not in known}
    content = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(content.encode()).hexdigest()
