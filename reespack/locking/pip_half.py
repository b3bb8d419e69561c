"""The pip half of a lock: uv's resolver over the package index.

What the conda half brings is shown to uv as stub wheels (see `provided`), as constraints with a
URL: wherever such a distribution is needed, it can come from nowhere else, and its version has to
do. Nothing is installed and, for wheels, no interpreter is asked.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from reespack.channels import without_credentials
from reespack.errors import LockError
from reespack.locking.provided import write_stub
from reespack.uv import run_uv
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from reespack.locking.provided import Provided
    from reespack.model import PipOptions, PipRequirement
    from reespack.package_index import PackageIndex

__all__ = [
    "GitCommit",
    "PipRequest",
    "PipResult",
    "Unresolvable",
    "git_reference",
    "name_of",
    "resolve",
]

REQUIREMENTS = "requirements.txt"
CONSTRAINTS = "constraints.txt"
STUBS = "from-conda.txt"
PYLOCK = "pylock.toml"
EDGES = "edges.txt"

# uv's names of target triples; manylinux ones go from 2014 (glibc 2.17) to 2.40.
_GLIBC_KNOWN = (17, *range(28, 41))
_NO_EXTRA = re.compile(r"The package `([A-Za-z0-9._-]+)[^`]*` does not have an extra named")
_GIT = re.compile(r"git\+(?P<url>[^#@]*?://(?:[^/#@]*@)?[^#@]+)(?:@(?P<revision>[^#]+))?")
_NAME = re.compile(r"^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


class Unresolvable(Exception):  # noqa: N818 - a state of the search, never shown to a user
    """uv finds no solution; `explanation` is what it says."""

    def __init__(self, explanation: str) -> None:
        super().__init__(explanation)
        self.explanation = explanation


class GitCommit(Value):
    """The commit that a revision (None for the default branch) of a git URL has led to."""

    name: str
    url: str
    revision: str | None
    commit: str


class PipRequest(Value):
    """What is asked of the index, for one platform and one Python.

    `root` is what requirements' paths are relative to; `preferred` are (name, version) of an
    earlier lock, `commits` what its git URLs (without `git+` and revision) had led to; `glibc`
    and `osx` are the versions of the target's system that were assumed.
    """

    requirements: tuple[PipRequirement, ...]
    constraints: tuple[PipRequirement, ...]
    options: PipOptions
    root: Path
    platform: str
    python: str
    glibc: str | None = None
    osx: str | None = None
    preferred: tuple[tuple[str, str], ...] = ()
    commits: tuple[GitCommit, ...] = ()

    def preferring(self, more: Iterable[tuple[str, str]]) -> PipRequest:
        """Return the same request with other versions preferred, too."""
        return replace(self, preferred=tuple({**dict(self.preferred), **dict(more)}.items()))


class PipResult(Value):
    """uv's answer: `pylock` is the text of a pylock.toml (PEP 751).

    Its paths are relative to `folder`; `needed_by` says for each distribution, by normalised
    name, which others need it; `without_extras` are those that lack an extra that is asked for.
    """

    pylock: str
    folder: Path
    needed_by: Mapping[str, tuple[str, ...]]
    without_extras: frozenset[str] = frozenset()


def resolve(  # noqa: PLR0913 - its collaborators
    request: PipRequest,
    provided: Mapping[str, Provided],
    *,
    extras: Mapping[str, tuple[str, ...]],
    index: PackageIndex,
    folder: Path,
    cache: Path,
) -> PipResult:
    """Resolve `request` in the empty or earlier used scratch `folder`, around what is `provided`.

    `extras` are lines about the extras of provided distributions, for their stubs' metadata.
    Raises Unresolvable with uv's explanation, LockError for anything else that uv cannot do.
    """
    (folder / REQUIREMENTS).write_text(_lines(request.requirements, request.root))
    (folder / CONSTRAINTS).write_text(_lines(request.constraints, request.root))
    stubs = [
        (one.name, write_stub(one, cache, extras=extras.get(one.name, ())))
        for one in provided.values()
    ]
    (folder / STUBS).write_text("".join(f"{name} @ {path.as_uri()}\n" for name, path in stubs))
    # What an earlier run left there would be taken for versions to stay with.
    (folder / PYLOCK).unlink(missing_ok=True)
    if request.preferred or request.commits:
        (folder / PYLOCK).write_text(_preferences(request))
    arguments = _arguments(request)
    environ = _environ(request)
    said: list[str] = []
    completed = run_uv(
        [*arguments, "--format", "pylock.toml", "--output-file", PYLOCK],
        index=index,
        cwd=folder,
        env=environ,
        on_output=said.append,
    )
    if not completed.ok:
        raise _failure("\n".join(said), folder, request)
    pylock = (folder / PYLOCK).read_text()
    # pylock.toml does not say who needs what; of one alone, it need not.
    several = pylock.count("[[packages]]") > 1
    lines = _annotated(arguments, index, folder, environ) if several else ""
    lacking = _NO_EXTRA.findall("\n".join(said))
    return PipResult(
        pylock=pylock,
        folder=folder,
        needed_by=_edges(lines),
        without_extras=frozenset(canonicalize_name(name) for name in lacking),
    )


def _annotated(
    arguments: Sequence[str], index: PackageIndex, folder: Path, environ: Mapping[str, str]
) -> str:
    """Return the same solution once more, with who needs what; nothing when uv does not say.

    All that uv asked the index for a moment ago is in its cache, so that it need not ask again; it
    is asked again where it forbids to be kept.
    """
    for reached in dict.fromkeys((replace(index, offline=True), index)):
        completed = run_uv(
            [*arguments, "--annotation-style", "line"], index=reached, cwd=folder, env=environ
        )
        if completed.ok:
            return completed.stdout
    return ""


# --- what uv is told ---------------------------------------------------------------------------


def _lines(requirements: Sequence[PipRequirement], root: Path) -> str:
    return "".join(f"{_line(requirement, root)}\n" for requirement in requirements)


def _line(requirement: PipRequirement, root: Path) -> str:
    if requirement.path is None:
        return requirement.text
    extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    path = (root / requirement.path).resolve()
    if requirement.name:
        return f"{requirement.name}{extras} @ {path.as_uri()}"
    return f"{path.as_uri()}{extras}"


def name_of(requirement: PipRequirement) -> str | None:
    """Return a requirement's normalised name, None for a path or URL that does not say it."""
    if requirement.name:
        return canonicalize_name(requirement.name)
    match = _NAME.match(requirement.text)
    if requirement.path is not None or match is None or "://" in requirement.text.split("@")[0]:
        return None
    return canonicalize_name(match[1])


def git_reference(text: str) -> tuple[str, str | None] | None:
    """Return the URL (without `git+`) and the revision of a requirement or a locked git URL."""
    match = _GIT.search(text)
    return None if match is None else (match["url"].strip(), match["revision"])


def _preferences(request: PipRequest) -> str:
    """Return a pylock.toml that uv reads as the versions and commits to stay with."""
    packages = [f'name = "{name}"\nversion = "{version}"\n' for name, version in request.preferred]
    for one in request.commits:
        revision = f'requested-revision = "{one.revision}", ' if one.revision else ""
        vcs = f'type = "git", url = "{one.url}", {revision}commit-id = "{one.commit}"'
        packages.append(f'name = "{one.name}"\nvcs = {{ {vcs} }}\n')
    tables = "".join(f"\n[[packages]]\n{package}" for package in packages)
    return f'lock-version = "1.0"\ncreated-by = "reespack"\n{tables}'


def _arguments(request: PipRequest) -> list[str]:
    options = request.options
    arguments = ["pip", "compile", REQUIREMENTS, "--constraints", CONSTRAINTS]
    arguments += ["--constraints", STUBS, "--no-header", "--color", "never"]
    # An interpreter is needed only to build a source distribution's metadata.
    arguments += ["--python", sys.executable, "--no-python-downloads"]
    arguments += ["--python-version", request.python]
    arguments += ["--python-platform", _triple(request)]
    if options.index_url:
        arguments += ["--default-index", options.index_url]
    for url in options.extra_index_urls:
        arguments += ["--index", url]
    if options.extra_index_urls:
        # pip takes the best version of all indexes, uv by itself the first index with the name.
        arguments += ["--index-strategy", "unsafe-best-match"]
    for place in options.find_links:
        arguments += ["--find-links", _place(place, request.root)]
    if options.no_index:
        arguments.append("--no-index")
    if options.pre:
        arguments += ["--prerelease", "allow"]
    for name in options.no_binary:
        arguments += ["--no-binary", name]
    for name in options.only_binary:
        arguments += ["--only-binary", name]
    return arguments


def _place(place: str, root: Path) -> str:
    return place if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", place) else str((root / place).resolve())


def _triple(request: PipRequest) -> str:
    system, _, machine = request.platform.partition("-")
    machine = {"64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if system == "linux" and machine in {"x86_64", "aarch64"}:
        minor = _minor(request.glibc or "2.28")
        fitting = [known for known in _GLIBC_KNOWN if known <= minor]
        return f"{machine}-manylinux_2_{max(fitting, default=17)}"
    if system == "osx":
        return f"{machine}-apple-darwin"
    if system == "win" and machine in {"x86_64", "aarch64"}:
        return f"{machine}-pc-windows-msvc"
    raise LockError(
        f"uv cannot choose distributions for {request.platform}",
        hint="leave the pip requirements out, or lock for another platform",
    )


def _minor(version: str) -> int:
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    return int(minor) if major == "2" and minor.isdigit() else _GLIBC_KNOWN[-1]


def _environ(request: PipRequest) -> dict[str, str]:
    import os

    environ = dict(os.environ)
    if request.osx:
        environ["MACOSX_DEPLOYMENT_TARGET"] = request.osx
    return environ


# --- what uv says ------------------------------------------------------------------------------


def _failure(output: str, folder: Path, request: PipRequest) -> Exception:
    origin = next(
        (f"{r.origin}: " for r in request.requirements if _speaks_of(output, r, request.root)), ""
    )
    text = output.replace(f"{folder.as_uri()}/", "").replace(f"{folder}/", "").strip()
    text = re.sub(r"(file://)?/\S*/stubs/[0-9a-f]{16}/", "conda's ", text)
    text = re.sub(r"^(Using|Resolved|warning:) .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^error: ", "", text)
    if "No solution found" in text or "conflicting URLs" in text:
        return Unresolvable(text)
    if fetched := re.search(r"Failed to fetch: `?([^`\s]+)", text):
        return LockError(
            f"the package index cannot be read: {without_credentials(fetched[1])}",
            hint="check the network, and the index in pip.conf, uv.toml or --index-url",
            detail=text,
        )
    if "build backend returned an error" in text:
        return _unbuildable(text, origin, request)
    first = text.splitlines()[0] if text else "no reason given"
    return LockError(f"{origin}uv cannot lock this: {first}", detail=text or None)


def _unbuildable(text: str, origin: str, request: PipRequest) -> LockError:
    """Return the error for a source whose metadata cannot be made."""
    named = re.search(r"Failed to (?:build|download and build) `([^`]+)`", text)
    projects = [one for one in request.requirements if one.path is not None]
    if named:
        what = named[1].partition(" @ ")[0]
        hint = "ask for a version that has a wheel, or for conda's package in environment.yml"
    else:
        # uv does not say which folder it is about.
        what = projects[0].path if len(projects) == 1 else "a project of the repository"
        origin = origin or (f"{projects[0].origin}: " if len(projects) == 1 else "")
        hint = "its own build failed; its output is below"
    return LockError(f"{origin}{what} cannot be built", hint=hint, detail=text)


def _speaks_of(output: str, requirement: PipRequirement, root: Path) -> bool:
    """Say whether uv's message is about this very requirement."""
    if requirement.path is not None:
        return (root / requirement.path).resolve().as_uri() in output
    if " @ " in requirement.text and requirement.text.split(" @ ")[1].split("#")[0] in output:
        return True
    name = name_of(requirement)
    return name is not None and re.search(rf"`{re.escape(name)}[`=\[ @]", output) is not None


def _edges(text: str) -> dict[str, tuple[str, ...]]:
    """Read `name==1.0  # via a, b` (and `name @ url  # via a`): who needs each distribution."""
    edges: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        head, _, via = line.partition("# via ")
        match = _NAME.match(head)
        if match is None:
            continue
        needers = [word.strip() for word in via.split(",")]
        edges[canonicalize_name(match[1])] = tuple(
            canonicalize_name(re.sub(r"\[.*", "", word))
            for word in needers
            if word and not word.startswith("-")
        )
    return edges
