"""The values that say what is asked for, one for each arrow of the pipeline's first half.

    Repository -> Detection -> EnvironmentSpec (-> Lock -> Prefix -> Archive: reespack.products)

All are frozen and compare by value. Paths inside a repository are POSIX strings relative to its
root; paths on this machine are `pathlib.Path`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal

from reespack.errors import DetectError, MalformedFileError, RepositoryError
from reespack.value import Value

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ADDED",
    "CondaRequirement",
    "Detection",
    "EnvironmentSpec",
    "FileVerdict",
    "LanguageVersion",
    "LockfileInput",
    "Note",
    "Origin",
    "PipOptions",
    "PipRequirement",
    "Repository",
    "SystemPackage",
    "Target",
    "Verdict",
]

BINDER_FOLDERS = ("binder", ".binder")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class Origin(Value):
    """Where a request stands: a file of the repository and a line, counted from 1."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        """Return `file:line`, or the file alone."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


ADDED = Origin(file="(added by reespack)")
"""The origin of what no file asks for: a kernel, a server, the default Python."""


class Repository(Value):
    """A tree of files on this machine, and where it came from.

    `root` is absolute and resolved, with `subdir` already applied; `top` is the checkout it must
    stay inside of. `name` is a slug for file names. `commit` and `commit_time` (seconds since the
    epoch) are None when the tree is not a git checkout; `dirty` says that tracked files differ
    from the commit.
    """

    root: Path
    top: Path
    name: str
    source: str
    url: str | None = None
    ref: str | None = None
    commit: str | None = None
    commit_time: int | None = None
    dirty: bool = False
    subdir: str = ""

    @property
    def config_folder(self) -> str:
        """The only folder where REES files count: "binder", ".binder", or "" for the root.

        Existence alone decides, even of an empty folder. Raises DetectError when both exist.
        """
        present = [name for name in BINDER_FOLDERS if (self.root / name).is_dir()]
        if len(present) > 1:
            raise DetectError(
                "the repository has both binder/ and .binder/",
                hint="REES allows one of them; remove or rename the other",
            )
        return present[0] if present else ""

    def find(self, *names: str) -> str | None:
        """Return the path of the first of `names` that is a file in the config folder."""
        folder = self.config_folder
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if self.is_file(path):
                return path
        return None

    def is_file(self, path: str) -> bool:
        """Say whether `path` is a file (or a link to one)."""
        return (self.root / path).is_file()

    def resolve(self, path: str) -> Path:
        """Return the file that `path` means; raise RepositoryError when that is outside."""
        resolved = (self.root / path).resolve()
        if not resolved.is_relative_to(self.top):
            raise RepositoryError(
                f"{path} leads out of the repository (to {resolved})",
                hint="replace the link with the file itself",
            )
        return resolved

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content; raise on links that leave the checkout and git-lfs pointers."""
        try:
            content = self.resolve(path).read_bytes()
        except OSError as error:
            raise MalformedFileError(f"{path}: cannot be read: {error.strerror}") from error
        if content.startswith(_LFS_POINTER):
            raise MalformedFileError(
                f"{path}: is a git-lfs pointer, not the file itself",
                hint="run `git lfs pull` in the repository, or commit the file without git-lfs",
            )
        return content

    def read_text(self, path: str) -> str:
        """Return a file as UTF-8 text, without its byte order mark, with Unix line ends."""
        content = self.read_bytes(path)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise MalformedFileError(
                f"{path}:{line}: is not UTF-8 (byte 0x{content[error.start]:02x})",
                hint="save the file as UTF-8",
            ) from error
        return text.replace("\r\n", "\n").replace("\r", "\n")


# --- detection ---------------------------------------------------------------------------------


class Verdict(str, Enum):
    """What becomes of a REES file: nothing is ever dropped in silence."""

    USED = "used"
    IGNORED = "ignored"
    REFUSED = "refused"


class FileVerdict(Value):
    """The verdict on one file, why, the buildpack that speaks for it, and the file's digest."""

    path: str
    verdict: Verdict
    reason: str
    buildpack: str | None = None
    sha256: str | None = None


class Note(Value):
    """Something that the user should know; a warning unless `level` says otherwise."""

    message: str
    hint: str | None = None
    origin: Origin | None = None
    level: Literal["info", "warning"] = "warning"


class Target(Value):
    """What an environment is made for: a conda platform and the Python used when none is asked."""

    platform: str
    default_python: str = "3.12"


class CondaRequirement(Value):
    """A match spec as conda and rattler parse it, and where it stands."""

    spec: str
    name: str
    origin: Origin


class PipRequirement(Value):
    """One requirement for pip.

    `text` is a PEP 508 string (`name @ git+https://...` for URLs), or, when `path` is set, is
    informative only: `path` is a project folder, wheel or sdist inside the repository, relative
    to its root ("." for the root itself), and `extras` those asked of it. `editable` records that
    the file said `-e`; it is built as a wheel all the same.
    """

    text: str
    origin: Origin
    name: str | None = None
    path: str | None = None
    extras: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    editable: bool = False


class PipOptions(Value):
    """The options of requirements files that bear on which distributions are found."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    require_hashes: bool = False


class LanguageVersion(Value):
    """A version of a language asked for outside of conda's requirements.

    `version` is a conda version spec (`3.11.*`). Of several for one language, the highest `rank`
    counts: runtime.txt 100, Pipfile 50, a project's requires-python 10.
    """

    language: str
    version: str
    origin: Origin
    rank: int


class SystemPackage(Value):
    """A name from apt.txt."""

    name: str
    origin: Origin


class LockfileInput(Value):
    """A lockfile that the repository brings: `conda-lock` (v1 YAML) or `explicit` (@EXPLICIT)."""

    path: str
    kind: Literal["conda-lock", "explicit"]
    platform: str | None = None


class Detection(Value):
    """What a repository holds: a verdict for every REES file, and what the buildpacks contribute.

    `contributions` pairs each buildpack's id with its Contribution (reespack.buildpack), in the
    order of the chain. `buildpacks` pairs ids with the version of the distribution they come from.
    """

    repository: Repository
    target: Target
    files: tuple[FileVerdict, ...]
    contributions: tuple[tuple[str, object], ...]
    buildpacks: tuple[tuple[str, str], ...]
    notes: tuple[Note, ...] = ()


class EnvironmentSpec(Value):
    """What is asked for, on one platform, each request with its origin.

    `channels` are names or URLs in order of priority. `variables` are (name, value). `post_build`
    and `start` are paths in the repository. `languages` are those that get a kernel. With
    `lockfile` set, the lock is given and the requirements only say what it must belong to.
    """

    name: str
    platform: str
    channels: tuple[str, ...]
    conda: tuple[CondaRequirement, ...] = ()
    pip: tuple[PipRequirement, ...] = ()
    pip_constraints: tuple[PipRequirement, ...] = ()
    pip_options: PipOptions = PipOptions()
    variables: tuple[tuple[str, str], ...] = ()
    post_build: str | None = None
    start: str | None = None
    lockfile: LockfileInput | None = None
    languages: tuple[str, ...] = ("python",)
    sources: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
