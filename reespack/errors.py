"""Every error that reespack raises on purpose, and the exit code that each phase ends with.

    ReespackError                     1
    ├── UsageError                    2   an option or a setting that cannot be right
    │   ├── ConfigError               2
    │   └── CatalogError              2   a catalog of environments that cannot be read
    ├── RepositoryError              10   the repository, its ref or its folder cannot be had
    ├── DetectError                  20   what the repository holds cannot be honoured
    │   ├── BuildpackError           21   a buildpack is broken (not the repository)
    │   ├── MalformedFileError       22   a REES file cannot be read
    │   └── RefusedError             23   nothing usable, and something that needs a container
    ├── SpecError                    30   the files are readable but ask for what cannot be
    │   └── UnmappedAptError         31   apt names without a counterpart
    ├── LockError                    40
    │   ├── ChannelError             41   a channel cannot be reached or read
    │   ├── UnsatisfiableError       42   the solver, or uv, says that it cannot be done
    │   └── StaleLockError           43   a lock that does not belong to its sources
    ├── InstallError                 50
    │   ├── HashMismatchError        51
    │   └── PostBuildError           52   postBuild failed, hung or was killed
    ├── PackError                    60
    │   ├── LeftoverPrefixError      61   the build prefix stays in a file, unrecorded
    │   └── NotReproducibleError     62   two builds of the same input differ
    └── UnpackError                  70
        ├── VerificationError        71   an archive is not what its manifest says
        ├── ArchiveChangedError      72   an archive went away or changed while it was read
        └── StoreError               73   the store of environments cannot be used
            ├── UntrustedStoreError  74   somebody else could have put something there
            └── InUseError           75   an environment is in use, or being worked on

An interrupt ends with 130, as in every shell.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ArchiveChangedError",
    "BuildpackError",
    "CatalogError",
    "ChannelError",
    "ConfigError",
    "DetectError",
    "HashMismatchError",
    "InUseError",
    "InstallError",
    "LeftoverPrefixError",
    "LockError",
    "MalformedFileError",
    "NotReproducibleError",
    "PackError",
    "PostBuildError",
    "ReespackError",
    "RefusedError",
    "RepositoryError",
    "SpecError",
    "StaleLockError",
    "StoreError",
    "UnmappedAptError",
    "UnpackError",
    "UnsatisfiableError",
    "UntrustedStoreError",
    "UsageError",
    "VerificationError",
]


_MORE = "run it again with --verbose for more of what was done"


class ReespackError(Exception):
    """What happened, where, and what to do about it.

    `message` is one line, naming the file and line when there is one; `hint` says what to do;
    `detail` is the part that may be long (a solver's explanation, the tail of a log). An error
    without a hint of its own has its class's `usual_hint`.
    """

    exit_code: ClassVar[int] = 1
    usual_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint
        self.detail = detail


class UsageError(ReespackError):
    """An option that cannot be right."""

    exit_code = 2
    usual_hint = "every command explains its options with --help"


class ConfigError(UsageError):
    """A setting that cannot be right; the message names the file or variable it stands in."""

    usual_hint = "docs/configuration.md says what each setting may be"


class CatalogError(UsageError):
    """A catalog of environments cannot be used; the message names file and line."""

    usual_hint = "correct the catalog there"


class RepositoryError(ReespackError):
    """The repository, its ref or its folder cannot be had."""

    exit_code = 10
    usual_hint = "REPO is a folder, a git URL, or either with @REF"


class DetectError(ReespackError):
    """What the repository holds cannot be honoured."""

    exit_code = 20
    usual_hint = "docs/rees.md says what each file may hold"


class BuildpackError(DetectError):
    """A buildpack is broken: a duplicate id, an unknown api, an exception of its own."""

    exit_code = 21


class MalformedFileError(DetectError):
    """A REES file cannot be read; the message begins with `file:line:`."""

    exit_code = 22


class RefusedError(DetectError):
    """Nothing usable is there, and something that needs a container is."""

    exit_code = 23


class SpecError(ReespackError):
    """The files are readable but ask for what cannot be."""

    exit_code = 30


class UnmappedAptError(SpecError):
    """apt.txt names packages for which no conda package is known."""

    exit_code = 31


class LockError(ReespackError):
    """The environment cannot be pinned."""

    exit_code = 40
    usual_hint = _MORE


class ChannelError(LockError):
    """A channel cannot be reached or read; the message names it."""

    exit_code = 41


class UnsatisfiableError(LockError):
    """No set of packages meets the request; `detail` is the solver's own explanation."""

    exit_code = 42


class StaleLockError(LockError):
    """A lock does not belong to the sources beside it."""

    exit_code = 43


class InstallError(ReespackError):
    """The prefix cannot be made."""

    exit_code = 50
    usual_hint = _MORE


class HashMismatchError(InstallError):
    """A download is not what the lock says."""

    exit_code = 51


class PostBuildError(InstallError):
    """postBuild failed, hung or was killed."""

    exit_code = 52


class PackError(ReespackError):
    """The archive cannot be written."""

    exit_code = 60
    usual_hint = _MORE


class LeftoverPrefixError(PackError):
    """The build prefix stays in a file and is not recorded for rewriting."""

    exit_code = 61


class NotReproducibleError(PackError):
    """Two builds of the same input differ; `detail` names the files."""

    exit_code = 62


class UnpackError(ReespackError):
    """An archive cannot be read or unpacked."""

    exit_code = 70
    usual_hint = "is the path right, and may you read what is there?"


class VerificationError(UnpackError):
    """An archive is not what its manifest says."""

    exit_code = 71
    usual_hint = "fetch it or build it again"


class ArchiveChangedError(UnpackError):
    """An archive went away, or became another, while it was read."""

    exit_code = 72


class StoreError(UnpackError):
    """The store of environments cannot be used: no room, no right, something in the way."""

    exit_code = 73
    usual_hint = "choose another with --store or REESPACK_STORE"


class UntrustedStoreError(StoreError):
    """A store, or something in it, belongs to somebody who is not trusted."""

    exit_code = 74


class InUseError(StoreError):
    """An environment is in use, or another process is working on it."""

    exit_code = 75
