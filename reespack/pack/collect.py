"""Which files of a prefix go into the archive, in which order, and what is changed in them."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from reespack.archive import LISTING, MANIFEST
from reespack.archive.conda_unpack import PLACEHOLDERS, STATE
from reespack.archive.listing import leads_out
from reespack.errors import PackError
from reespack.files import walk
from reespack.model import Note
from reespack.pack.conda_meta import read_variables, rewritten
from reespack.pack.scripts import scripts
from reespack.site_packages import site_packages
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from reespack.pack.conda_meta import Installed
    from reespack.products import Bytecode, Prefix

__all__ = ["Collection", "Source", "collect", "is_library", "owning_wheel"]

_OURS = frozenset({MANIFEST, LISTING, PLACEHOLDERS, STATE})
_LEFT_OUT = frozenset({"CACHEDIR.TAG", ".nonadmin", ".conda_lock", "conda-meta/.lock"})
"""A tag that makes backups skip what rattler installed, and locks."""


class Source(NamedTuple):
    """Something that becomes a member.

    `kind` is as in the listing, or "file" where the mode is told by the file itself, once it is
    opened: a look at each beforehand takes as long as all the rest of collecting. A file's content
    is `content`, or lies at `file`; `change`, when given, makes of it what is packed. A link has
    its `target`. Of what was `compiled`, only the bytes that belong to it are meant. (No dataclass,
    for the same reason as Member.)
    """

    path: str
    kind: str
    file: str = ""
    target: str = ""
    content: bytes | None = None
    change: Callable[[bytes], bytes] | None = None
    compiled: Bytecode | None = None


class _Changes(NamedTuple):
    """What makes of some files what is packed.

    `bytecode` says where that of a source lies; it must be known when a file is read.
    """

    installed: Installed
    bytecode: dict[str, str]

    def of(self, path: str) -> Callable[[bytes], bytes] | None:
        """Return what is done to the content of a file."""
        if path.startswith("conda-meta/") and path.endswith(".json"):
            return functools.partial(rewritten, name=path, bytecode=self.bytecode)
        if path.endswith(".dist-info/RECORD") and path not in self.installed.owners:
            return _record_without_scripts
        return None


class Collection(Value):
    """All that is packed, in the archive's order."""

    sources: tuple[Source, ...]
    notes: tuple[Note, ...]


def collect(
    prefix: Prefix,
    installed: Installed,
    compiled: Callable[[Sequence[str]], Sequence[Bytecode]] = lambda _files: (),
) -> Collection:
    """List what is in a prefix, and the bytecode for its files that `compiled` returns.

    Left out: what lies in `__pycache__`, FIFOs, sockets and devices (with a note), and what this
    very program or conda-pack writes anew. Raises PackError for what cannot be read.
    """
    found = {"bin": Source("bin", "dir"), "share": Source("share", "dir")}
    changes = _Changes(installed, {})
    notes: list[Note] = []
    roots = (prefix.path.absolute(), prefix.path.resolve())
    try:
        for path, entry in walk(prefix.path):
            if "__pycache__" in path and "__pycache__" in path.split("/"):
                continue  # stale, once times are made equal
            if path in _LEFT_OUT or path in _OURS:
                continue
            if source := _source(path, entry, roots, changes, notes):
                found[path] = source
    except OSError as error:
        raise PackError(f"{error.filename} cannot be read: {error.strerror}") from error
    found["share/reespack"] = Source("share/reespack", "dir")
    for path, content in scripts(read_variables(prefix.path)).items():
        found[path] = Source(path, "0755", content=content)
    bytecode = compiled([path for path, source in found.items() if source.kind == "file"])
    changes.bytecode.update((one.source, one.path) for one in bytecode)
    for folder in {one.path.rpartition("/")[0] for one in bytecode}:
        found[folder] = Source(folder, "dir")
    sources = _ordered(found, bytecode, installed)
    return Collection(sources=sources, notes=tuple(notes))


def _ordered(
    found: Mapping[str, Source], bytecode: Sequence[Bytecode], installed: Installed
) -> tuple[Source, ...]:
    """Return the folders, then all else, like beside like: `_place` says how.

    Two kinds of files follow another. Bytecode follows its source, all of whose words are in it,
    too. And a twin follows its like: packages bring many a file twice, in different places, of
    which the second then takes next to nothing.
    """
    compiled: dict[str, list[Source]] = {}
    for one in bytecode:
        of = one.source if one.source in found else one.path
        own = Source(one.path, "0644", str(one.file), compiled=one)
        compiled.setdefault(of, []).append(own)
    groups: dict[str, list[Source]] = {}
    for path in sorted({*found, *compiled}, key=_place):
        group = groups.setdefault(installed.twins.get(path, path), [])
        if path in found:
            group.append(found[path])
        if path in compiled:
            group += compiled[path]
    ordered = list(itertools.chain.from_iterable(groups.values()))
    folders = sorted(
        (source for source in ordered if source.kind == "dir"),
        key=lambda folder: os.fsencode(folder.path),
    )
    return (*folders, *(source for source in ordered if source.kind != "dir"))


def _place(path: str) -> bytes:
    """Return what files are sorted by: the kind that their names tell, then the path, as bytes.

    Files of a kind have words in common, and take less room side by side. What is neither a library
    nor Python goes by its name first: each package has a METADATA, a LICENSE, a `package.json`.
    """
    whole = os.fsencode(path)
    name = whole.rpartition(b"/")[2]
    if is_library(path):
        return b"so\0\0" + whole
    kind = name.rpartition(b".")[2] if b"." in name[1:] else b""
    return b"py\0\0" + whole if kind == b"py" else b"%b\0%b\0%b" % (kind, name, whole)


def is_library(path: str) -> bool:
    """Say whether a file's name is that of a shared library, or a module in machine code."""
    return ".so" in path and ".so" in path.rpartition("/")[2]


def _source(
    path: str,
    entry: os.DirEntry[str],
    roots: tuple[Path, Path],
    changes: _Changes,
    notes: list[Note],
) -> Source | None:
    if entry.is_dir(follow_symlinks=False):
        return Source(path, "dir")
    if entry.is_file(follow_symlinks=False):
        return Source(path, "file", entry.path, change=changes.of(path))
    if entry.is_symlink():
        return _link(path, os.readlink(entry.path), roots, notes)  # noqa: PTH115 - an entry is no Path
    notes.append(Note(message=f"{path} is neither file, folder nor link, and is not packed"))
    return None


def _link(path: str, target: str, roots: tuple[Path, Path], notes: list[Note]) -> Source:
    """Return a link whose target holds wherever the environment lies, if that is possible."""
    folder = posixpath.dirname(path)
    if target.startswith("/"):
        for root in map(str, roots):
            if target == root or target.startswith(f"{root}/"):
                target = posixpath.relpath(target[len(root) :], f"/{folder}")
                break
    elif leads_out(path, target):
        target = _straight(path, target, roots[1])
    if not leads_out(path, target):
        return Source(path, "link", target=target)
    notes.append(
        Note(
            message=f"{path} is a link that leads out of the environment, to {target}",
            hint="it will be dangling where that is missing; copy the file instead",
        )
    )
    return Source(path, "outside", target=target)


def _straight(path: str, target: str, root: Path) -> str:
    """Return a relative link's target without detours, or as an absolute path if it is outside."""
    landing = (root / posixpath.dirname(path) / target).resolve()
    if landing.is_relative_to(root):
        inside = str(landing.relative_to(root))
        return posixpath.relpath(f"/{inside}", f"/{posixpath.dirname(path)}")
    return str(landing)


def owning_wheel(prefix: Path, path: str) -> str | None:
    """Return the wheel that installed a file, from the RECORDs; this reads all of them."""
    for site in site_packages(prefix):
        wanted = posixpath.relpath(path, site.relative_to(prefix))
        for record in sorted(site.glob("*.dist-info/RECORD")):
            text = record.read_text(encoding="utf-8", errors="surrogateescape")
            if any(row and row[0] == wanted for row in csv.reader(text.splitlines())):
                return record.parent.name.removesuffix(".dist-info").replace("-", " ")
    return None


def _record_without_scripts(content: bytes) -> bytes:
    """Blank the digests of scripts in a wheel's RECORD: they hold for the build folder only."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        script = row and row[0].startswith("../") and "/bin/" in row[0]
        writer.writerow([row[0], "", ""] if script else row)
    return text.getvalue().encode("utf-8", "surrogateescape")
