"""What a wheel says about itself (the packaging specifications' "Core metadata")."""

from __future__ import annotations

import email.parser
import email.policy
import zipfile
from typing import TYPE_CHECKING, Any, Protocol

from packaging.utils import canonicalize_name

from reespack.channel.matchspecs import parse_requirement
from reespack.errors import ChannelError
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from packaging.requirements import Requirement

__all__ = ["Metadata", "dist_info", "read_metadata"]


class Metadata(Value):
    """What a wheel's METADATA says, as far as a conda package repeats it."""

    name: str
    version: str
    requires: tuple[Requirement, ...]
    requires_python: str | None
    license: str
    summary: str
    home: str


def read_metadata(path: Path) -> Metadata:
    """Read the METADATA of a wheel; `ChannelError` when it is no wheel."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(f"{dist_info(archive)}/METADATA").decode("utf-8", "replace")
    except (zipfile.BadZipFile, KeyError) as error:
        raise ChannelError(f"{path.name} is not a wheel: {error}") from error
    # compat32: some descriptions are not what the newer policies take for a message.
    message = email.parser.Parser(policy=email.policy.compat32).parsestr(text, headersonly=True)

    def field(name: str) -> str:
        return str(message.get(name) or "").strip()

    license_ = field("License-Expression") or field("License") or _classified(message)
    return Metadata(
        name=canonicalize_name(field("Name")),
        version=field("Version"),
        requires=tuple(_requires(message, path)),
        requires_python=field("Requires-Python") or None,
        # Some put a whole licence there; its first line names it.
        license=license_.splitlines()[0].strip()[:100] if license_ else "",
        summary=field("Summary").replace("\n", " "),
        home=field("Home-page") or _home(message.get_all("Project-URL") or ()),
    )


class _Headers(Protocol):
    """A message, of which only fields that may occur more than once are asked for."""

    def get_all(self, name: str, /) -> list[Any] | None: ...


def _requires(message: _Headers, path: Path) -> Iterator[Requirement]:
    for line in message.get_all("Requires-Dist") or ():
        requirement = parse_requirement(str(line))
        if requirement is None:
            raise ChannelError(f"{path.name}: unreadable Requires-Dist: {line}")
        yield requirement


def _classified(message: _Headers) -> str:
    for line in message.get_all("Classifier") or ():
        if str(line).startswith("License ::"):
            return str(line).rpartition("::")[2].strip()
    return ""


def _home(lines: Iterable[Any]) -> str:
    urls = {
        label.strip().lower(): url.strip()
        for label, _, url in (str(line).partition(",") for line in lines)
    }
    for label in ("homepage", "home", "source", "source code", "repository", "github"):
        if label in urls:
            return urls[label]
    return next(iter(urls.values()), "")


def dist_info(archive: zipfile.ZipFile) -> str:
    """The name of the wheel's `*.dist-info` folder; `KeyError` when it has none."""
    for name in archive.namelist():
        folder, _, rest = name.partition("/")
        if folder.endswith(".dist-info") and rest == "METADATA":
            return folder
    raise KeyError("no METADATA")
