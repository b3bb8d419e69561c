"""What a name from apt.txt means where nobody is root: the table of counterparts.

The table is tab-separated text with a heading, one row a name, and `#` comments:

    apt_name  count  kind  conda  note

- `kind` is `conda` (the packages in `conda`, match specs with spaces between, take its place),
  `base` (the machine or every environment has it: nothing is added), `gui` (a desktop program,
  which needs a display) or `none` (no counterpart is known);
- `count` says in how many of some hundreds of real repositories the name occurs;
- `note` is for people. One that begins with "partial" says that the counterpart does not do all.

A site's own table has the same form, and its rows replace those of the built-in one.
"""

from __future__ import annotations

import functools
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from reespack.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AptRow", "AptTable", "built_in_rows", "load_apt_table"]

Kind = Literal["conda", "base", "gui", "none"]
_COLUMNS = ["apt_name", "count", "kind", "conda", "note"]
_KINDS = ("conda", "base", "gui", "none")
_R_PREFIX = "r-cran-"


class AptRow(NamedTuple):
    """What is known of one apt name."""

    name: str
    kind: Kind
    conda: tuple[str, ...] = ()
    note: str = ""


class AptTable(NamedTuple):
    """The built-in rows, and those of a `site` that take the place of some of them, by apt name.

    The built-in ones are read when the first name is looked up: few repositories name any.
    """

    site: Mapping[str, AptRow] = MappingProxyType({})

    def look_up(self, name: str) -> AptRow | None:
        """Return what is known of `name`; None when nothing is.

        Debian's `r-cran-x` is conda-forge's `r-x`, listed or not.
        """
        row = self.site.get(name) or built_in_rows().get(name)
        if row is None and name.startswith(_R_PREFIX):
            return AptRow(name=name, kind="conda", conda=(f"r-{name.removeprefix(_R_PREFIX)}",))
        return row


def load_apt_table(site: Path | None = None) -> AptTable:
    """Return the built-in table, with the rows of a site's own in place of those it names.

    Raises ConfigError, naming file and line, for a site table that cannot be read.
    """
    if site is None:
        return AptTable()
    try:
        text = site.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the site's apt table {site} cannot be read: {error}",
            hint="it is named by the setting apt_table",
        ) from error
    return AptTable(site=_parse(text, str(site)))


@functools.cache
def built_in_rows() -> Mapping[str, AptRow]:
    """Return the rows that come with reespack."""
    file = Path(__file__).with_name("data") / "apt-packages.tsv"
    return _parse(file.read_text(encoding="utf-8"), file.name)


def _parse(text: str, source: str) -> dict[str, AptRow]:
    rows: dict[str, AptRow] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#") or line.split("\t") == _COLUMNS:
            continue
        name, _, kind, conda, note = [*line.split("\t"), "", "", "", ""][:5]
        if kind not in _KINDS or (kind == "conda" and not conda.strip()):
            raise ConfigError(
                f"{source}:{number}: is not a row of an apt table",
                hint=f"tab-separated: {' '.join(_COLUMNS)}; kind is one of {', '.join(_KINDS)}",
            )
        rows[name] = AptRow(
            name=name, kind=cast("Kind", kind), conda=tuple(conda.split()), note=note.strip()
        )
    return rows
