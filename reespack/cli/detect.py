"""`reespack detect`: a verdict for every file, and the environment that they ask for.

It is what one asks again and again while a repository's files are written, so plain words do
without typer (see `reespack.cli.plain`). `reespack.cli.detect_options` is what typer is told.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from reespack.cli.console import make_console, write_document, write_out
from reespack.cli.plain import FLAGS, Words, understood
from reespack.cli.request import make_request
from reespack.cli.terminal import Style, columns, style_of, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from reespack.model import Detection, EnvironmentSpec, Note

__all__ = ["detect", "plain_words"]

_VERDICTS = {"used": "green", "ignored": "yellow", "refused": "red"}
_SHORT = 12
"""Digits of a commit that are shown."""

_WORDS = Words(
    arguments={"source": str},
    flags={**FLAGS, "--allow-empty": "allow_empty", "--offline": "offline"},
    options={
        "--platform": ("platform", str),
        "--ref": ("ref", str),
        "--subdir": ("subdir", str),
        "-p": ("platform", str),
    },
)


def plain_words(words: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments for `detect` that typer would make of `words`; None if it is to tell."""
    return understood(words, _WORDS)


def detect(  # noqa: PLR0913 - each is an option
    source: str,
    *,
    ref: str | None = None,
    subdir: str | None = None,
    platform: str | None = None,
    channels: Sequence[str] | None = None,
    extras: Sequence[str] | None = None,
    apt: str | None = None,
    apt_table: Path | None = None,
    default_python: str | None = None,
    allow_empty: bool = False,
    offline: bool = False,
    json: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Write what each file of a repository means, and what environment comes of it, to stdout.

    Raises what is wrong with the files, after the table that says of each file why.
    """
    from reespack import pipeline
    from reespack.config import load_settings
    from reespack.errors import ReespackError

    settings = load_settings(
        flags={
            "apt": apt,
            "apt_table": apt_table,
            "default_python": default_python,
            "offline": offline or None,
        }
    )
    request = make_request(
        source, ref=ref, subdir=subdir, channels=channels, extras=extras, allow_empty=allow_empty
    )
    console = make_console(verbose=verbose, quiet=quiet)
    found = pipeline.detect(request, settings=settings, platform=platform, progress=console)
    # A refusal comes after the table, which says of each file why.
    spec: EnvironmentSpec | None = None
    problem: ReespackError | None = None
    try:
        spec = pipeline.specify(found, request, settings=settings)
    except ReespackError as error:
        problem = error
    if json:
        from reespack.json_form import detection_to_json

        write_document(detection_to_json(found, spec))
    else:
        write_out(_shown(found, spec, verbose=verbose))
    if problem is not None:
        raise problem


def _shown(detection: Detection, spec: EnvironmentSpec | None, *, verbose: bool) -> Iterator[str]:
    style, width = style_of(sys.stdout), columns(sys.stdout)
    yield from _repository(detection, style)
    yield ""
    if detection.files:
        rows = [
            (file.path, file.buildpack or "-", file.verdict.value, file.reason)
            for file in detection.files
        ]
        colors = [("bold", "", _VERDICTS[row[2]], "") for row in rows]
        header = ("FILE", "BUILDPACK", "VERDICT", "WHY")
        yield from table(rows, style=style, colors=colors, header=header, width=width)
    else:
        yield "No REES file is present."
    if spec is not None:
        yield ""
        yield style(f"Environment for {spec.platform}", "bold")
        yield from _environment(spec, style, width)
    notes = [
        note
        for note in (detection.notes if spec is None else spec.notes)
        if verbose or note.level == "warning"
    ]
    if notes:
        yield ""
        yield from _notes(notes, style)


def _repository(detection: Detection, style: Style) -> Iterator[str]:
    repository = detection.repository
    line = style(repository.name, "bold")
    if repository.commit is None:
        yield f"{line}  not a git checkout"
        return
    ref = f" ({repository.ref})" if repository.ref else ""
    dirty = style(", with uncommitted changes", "yellow") if repository.dirty else ""
    yield f"{line}  commit {repository.commit[:_SHORT]}{ref}{dirty}"


def _environment(spec: EnvironmentSpec, style: Style, width: int | None) -> Iterator[str]:
    rows: list[tuple[str, str, str]] = []

    def add(title: str, values: Sequence[tuple[str, str]]) -> None:
        rows.extend(
            (title if number == 0 else "", value, origin)
            for number, (value, origin) in enumerate(values)
        )

    add("channels", [(name, "") for name in spec.channels])
    if spec.lockfile is not None:
        add("lockfile", [(spec.lockfile.path, "used as it is")])
    add("conda", [(one.spec, str(one.origin)) for one in spec.conda])
    add("pip", [(one.text, str(one.origin)) for one in spec.pip])
    add("constraints", [(one.text, str(one.origin)) for one in spec.pip_constraints])
    add("index", _index(spec))
    add("variables", [(f"{name}={value}", "") for name, value in spec.variables])
    hooks = [("postBuild", spec.post_build), ("start", spec.start)]
    add("hooks", [(name, path if path != name else "") for name, path in hooks if path])
    add("kernels", [(language, "") for language in spec.languages])
    room = None if width is None else width // 2
    rows = [(title, _cut(value, room), origin) for title, value, origin in rows]
    colors = [("cyan", "", "dim")] * len(rows)
    yield from table(rows, style=style, colors=colors, indent=2, width=width)


def _index(spec: EnvironmentSpec) -> list[tuple[str, str]]:
    from reespack.channels import without_credentials

    options = spec.pip_options
    flags = [("--index-url", options.index_url)] if options.index_url else []
    flags += [("--extra-index-url", url) for url in options.extra_index_urls]
    flags += [("--find-links", place) for place in options.find_links]
    shown = [(f"{flag} {without_credentials(value or '')}", "") for flag, value in flags]
    return [*shown, ("--no-index", "")] if options.no_index else shown


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else f"{text[: room - 3]}..."


def _notes(notes: Sequence[Note], style: Style) -> Iterator[str]:
    for note in notes:
        color = "yellow" if note.level == "warning" else "dim"
        place = f"{note.origin}: " if note.origin else ""
        title = "warning:" if note.level == "warning" else "note:"
        yield f"{style(title, color)} {place}{note.message}"
        if note.hint:
            yield f"   {style('hint:', 'cyan')} {note.hint}"
