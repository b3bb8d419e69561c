"""A manifest for people: sections of labelled lines and tables, which the CLI prints."""

from __future__ import annotations

from typing import Any

from reespack.value import Value

__all__ = ["Section", "summarize"]

_SHOWN = 20
"""Rows of a list that is there to be glanced at; `--json` has all of them."""


class Section(Value):
    """A part of the summary: `facts` are (label, value), `rows` a table below `columns`.

    `omitted` counts the rows that were left out.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    omitted: int = 0


def summarize(manifest: dict[str, Any]) -> tuple[Section, ...]:
    """Return what a person wants to know of an archive, the most important first.

    Sections without content are left out. Takes what `parse_manifest` returns.
    """
    sections = (
        _archive(manifest),
        _repository(manifest["repository"]),
        _table("Files", ("file", "verdict", "why"), _files(manifest)),
        _table(
            "Kernels",
            ("name", "shown as", "language"),
            [(k["name"], k["display_name"], k["language"]) for k in manifest["kernelspecs"]],
        ),
        _table("conda packages", ("name", "version", "build", "channel"), _conda(manifest)),
        _table("pip packages", ("name", "version", "from"), _pip(manifest)),
        Section(title="Variables", facts=tuple(sorted(manifest["variables"].items()))),
        _table("Changed files", ("file", "change", "by"), _changes(manifest), shown=_SHOWN),
        _table(
            "Left in postBuild's HOME",
            ("file",),
            [(x,) for x in manifest["leftovers"]],
            shown=_SHOWN,
        ),
        _table(
            "Different in each build",
            ("file", "what", "by"),
            [(one["path"], one["what"], one["by"] or "") for one in manifest.get("differing", ())],
            shown=_SHOWN,
        ),
        _table("Notes", ("level", "note", "where"), _notes(manifest)),
    )
    return tuple(section for section in sections if section.facts or section.rows)


def human_size(size: int) -> str:
    """Return bytes as people read them, in powers of 1000 as disks are sold."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - the step between units
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _archive(manifest: dict[str, Any]) -> Section:
    archive, contents = manifest.get("archive"), manifest["contents"]
    facts = [
        ("key", manifest["key"]),
        ("platform", manifest["platform"]),
        ("unpacked", f"{human_size(contents['size'])} in {contents['files']} files"),
        ("tree digest", contents["tree_digest"]),
        ("lock", f"{manifest['lock']['sha256']}{_given(manifest['lock'])}"),
        ("assumes", " ".join(_virtual(one) for one in manifest["lock"]["virtual_packages"])),
        ("buildpacks", ", ".join(_buildpacks(manifest))),
        ("made by", f"{manifest['tool']['name']} {manifest['tool']['version']}"),
    ]
    if archive:
        facts[0:0] = [
            ("archive", f"{archive['file']} ({human_size(archive['size'])})"),
            ("sha256", archive["sha256"]),
        ]
    return Section(title=manifest["name"], facts=tuple(fact for fact in facts if fact[1]))


def _given(lock: dict[str, Any]) -> str:
    return " (the repository's own)" if lock["given"] else ""


def _virtual(package: dict[str, Any]) -> str:
    return "=".join(part for part in (package["name"], package["version"]) if part)


def _buildpacks(manifest: dict[str, Any]) -> list[str]:
    used = {file["buildpack"] for file in manifest["files"] if file["verdict"] == "used"}
    return [f"{one['id']} {one['version']}" for one in manifest["buildpacks"] if one["id"] in used]


def _repository(repository: dict[str, Any]) -> Section:
    commit = repository["commit"] or "(not a git checkout)"
    facts = [
        ("name", repository["name"]),
        ("url", repository["url"]),
        ("commit", f"{commit} with uncommitted changes" if repository["dirty"] else commit),
        ("folder", repository["subdir"]),
    ]
    return Section(title="Repository", facts=tuple((k, v) for k, v in facts if v))


def _files(manifest: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (file["path"], file["verdict"], file["reason"] or file["buildpack"] or "")
        for file in manifest["files"]
    ]


def _conda(manifest: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (one["name"], one["version"], one["build"], f"{one['channel'] or '?'}{_by(one)}")
        for one in manifest["conda"]
    ]


def _pip(manifest: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            one["name"],
            one["version"],
            f"{one['kind'] or one['url'] or '?'}{_by(one)}{_instead(one)}",
        )
        for one in manifest["pip"]
    ]


def _by(package: dict[str, Any]) -> str:
    return ", by postBuild" if package["by"] == "postBuild" else ""


def _instead(package: dict[str, Any]) -> str:
    return ", in place of conda's" if package["overrides"] else ""


def _changes(manifest: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (one["path"], one["change"], f"{one['by']}{_whose(one)}") for one in manifest["changes"]
    ]


def _whose(change: dict[str, Any]) -> str:
    return f" ({change['package']})" if change["package"] else ""


def _notes(manifest: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(one["level"], one["message"], one["origin"] or "") for one in manifest["notes"]]


def _table(
    title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]], *, shown: int | None = None
) -> Section:
    kept = rows[:shown]
    return Section(title=title, columns=columns, rows=tuple(kept), omitted=len(rows) - len(kept))
