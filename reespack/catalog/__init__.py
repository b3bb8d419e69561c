"""The catalog: one YAML file that says which environments a site offers, and to whom."""

from __future__ import annotations

from reespack.catalog.editing import add_entry, remove_entry
from reespack.catalog.entries import Catalog, Entry, Source
from reespack.catalog.reading import FORMAT, RESOURCES, parse_catalog, read_catalog, schema

__all__ = [
    "FORMAT",
    "RESOURCES",
    "Catalog",
    "Entry",
    "Source",
    "add_entry",
    "parse_catalog",
    "read_catalog",
    "remove_entry",
    "schema",
]
