"""`reespack catalog`: look after the file that says which environments a Hub offers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reespack.archive.names import SELF_EXTRACTING
from reespack.cli.console import write_document, write_line, write_out
from reespack.cli.options import Json, Traceback  # noqa: TC001 - typer reads them at run time
from reespack.cli.terminal import size, style_of, table

if TYPE_CHECKING:
    from reespack.catalog import Catalog, Entry

__all__ = ["add", "check", "remove"]

File = Annotated[Path, typer.Argument(metavar="CATALOG", help="The catalog, a YAML file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The environment's name.")]


def check(catalog: File, *, json: Json = False, _traceback: Traceback = False) -> None:
    """Check a catalog, and that the archives it names are there, whole in form, and readable.

    Exit code 2 for a catalog that a Hub would not take; what is wrong with an archive is a
    warning, for the other environments can be used.
    """
    from reespack.catalog import read_catalog

    read = read_catalog(catalog)
    rows = [(entry, _state(entry)) for entry in read.entries]
    if json:
        write_document(_document(read, rows))
        return
    style = style_of(sys.stdout)
    shown = [
        (entry.name, entry.title, ", ".join(entry.groups) or "everybody", _says(state))
        for entry, state in rows
    ]
    write_out(table(shown, style=style, header=("NAME", "TITLE", "FOR", "ARCHIVE")))
    for entry, state in rows:
        if "problem" in state:
            write_line(f"warning: {entry.name}: {state['problem']}")


def add(  # noqa: PLR0913 - each is an option
    catalog: File,
    name: Name,
    *,
    archive: Annotated[
        str | None, typer.Option(metavar="ARCHIVE", help="The archive, beside the catalog or not.")
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Instead: a repository that is built when first used."),
    ] = None,
    ref: Annotated[
        str | None, typer.Option(metavar="REF", help="The commit, tag or branch of REPO.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="What users see.")] = None,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A sentence or two for users.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Only for this group of the Hub. [repeatable]"),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change what is given of an entry that is there.")
    ] = False,
    _traceback: Traceback = False,
) -> None:
    """Add an environment to a catalog, or make a catalog of it; comments are kept."""
    from reespack.catalog import add_entry

    given = {
        "title": title,
        "description": description,
        "archive": archive,
        "repository": repository,
        "ref": ref,
        "groups": list(group) if group else None,
    }
    fields = {key: value for key, value in given.items() if value is not None}
    before = _text(catalog) if catalog.exists() else ""
    _write(catalog, add_entry(before, name, fields, path=catalog, replace=replace))


def remove(catalog: File, name: Name, *, _traceback: Traceback = False) -> None:
    """Remove an environment from a catalog; comments are kept, and the archive, too."""
    from reespack.catalog import remove_entry

    _write(catalog, remove_entry(_text(catalog), name, path=catalog))


def _text(catalog: Path) -> str:
    from reespack.catalog import read_catalog

    read_catalog(catalog)
    return catalog.read_text(encoding="utf-8-sig")


def _write(catalog: Path, text: str) -> None:
    """Write a catalog in one step, for a Hub may be reading it, with the rights that it had."""
    from reespack.files import write_atomic

    target = catalog.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else None
    write_atomic(target, text)
    if mode is not None:
        target.chmod(mode)


def _state(entry: Entry) -> dict[str, object]:
    """Return what is known of an entry's archive: its size, or what is the matter with it."""
    from reespack.errors import ReespackError
    from reespack.manifest import parse_manifest
    from reespack.unpack import read_manifest

    if entry.archive is None:
        return {}
    if entry.archive.name.endswith(SELF_EXTRACTING):
        found = entry.archive.is_file()
        return {} if found else {"problem": f"{entry.archive} is not there"}
    try:
        manifest = parse_manifest(read_manifest(entry.archive))
        status = entry.archive.stat()
    except (ReespackError, OSError) as error:
        return {"problem": str(error)}
    state: dict[str, object] = {"size": status.st_size, "key": manifest["key"]}
    packages = {one.get("name") for one in (*manifest["conda"], *manifest["pip"])}
    if not packages & {"jupyterhub", "jupyterhub-singleuser"}:
        state["problem"] = "it has no jupyterhub-singleuser: build it --with server"
    elif not status.st_mode & 0o004:
        state["problem"] = f"not everybody may read {entry.archive}"
    return state


def _says(state: dict[str, object]) -> str:
    if "problem" in state:
        return "-"
    amount = state.get("size")
    return size(amount) if isinstance(amount, int) else "built when first used"


def _document(catalog: Catalog, rows: list[tuple[Entry, dict[str, object]]]) -> dict[str, object]:
    return {
        "format": 1,
        "catalog": str(catalog.path),
        "environments": [
            {
                "name": entry.name,
                "title": entry.title,
                "groups": list(entry.groups),
                "archive": str(entry.archive) if entry.archive else None,
                "repository": entry.source.repository if entry.source else None,
                "ref": entry.source.ref if entry.source else None,
                "size": None,
                "key": None,
                "problem": None,
                **state,
            }
            for entry, state in rows
        ],
    }
