"""Changes to a catalog's text that leave its comments, its order and its quotes as they are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from reespack.catalog.reading import FORMAT, parse_catalog
from reespack.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["add_entry", "remove_entry"]


def add_entry(
    text: str, name: str, fields: Mapping[str, object], *, path: Path, replace: bool = False
) -> str:
    """Return a catalog's text with one entry more; an empty text becomes a new catalog.

    With `replace`, what `fields` name is changed in an entry that is there and the rest of it kept.
    Raises CatalogError for an entry that is there already, and for what would be no catalog.
    """
    content = _load(text or f"format: {FORMAT}\nenvironments: {{}}\n", path)
    environments = content["environments"]
    if hasattr(environments, "fa") and not environments:
        environments.fa.set_block_style()
    if name not in environments:
        environments[name] = dict(fields)
    elif replace:
        _change(environments[name], fields)
    else:
        raise CatalogError(
            f"{path}: there is an environment {name!r} already", hint="change it with --replace"
        )
    return _checked(content, path)


def remove_entry(text: str, name: str, *, path: Path) -> str:
    """Return a catalog's text without an entry; raise CatalogError if it is not there."""
    content = _load(text, path)
    environments = content["environments"]
    if name not in environments:
        known = ", ".join(map(str, environments)) or "none"
        raise CatalogError(f"{path}: there is no environment {name!r}", hint=f"there are: {known}")
    del environments[name]
    if content.get("default") == name:
        del content["default"]
    return _checked(content, path)


_EITHER = {"archive": ("repository", "ref"), "repository": ("archive",)}


def _change(entry: Any, fields: Mapping[str, object]) -> None:  # noqa: ANN401 - ruamel's table
    for key, value in fields.items():
        for other in _EITHER.get(key, ()):
            entry.pop(other, None)
        entry[key] = value


def _load(text: str, path: Path) -> Any:  # noqa: ANN401 - ruamel's table
    parse_catalog(text, path=path)
    return _yaml().load(text)


def _checked(content: object, path: Path) -> str:
    stream = io.StringIO()
    _yaml().dump(content, stream)
    text = stream.getvalue()
    parse_catalog(text, path=path)
    return text


def _yaml() -> Any:  # noqa: ANN401 - ruamel's own class is untyped in parts
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096  # what is one line stays one line
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
