"""The prefix phase: a locked environment, made in a build folder.

The conda half first, then the wheels, then postBuild; nothing that runs in the environment can
reach a cache, and all that changes conda's files is recorded. Where nothing runs in it, its files
are links into the cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import InstallError
from reespack.files import remove_tree, temporary_folder, walk
from reespack.prefix.links import CopiesNeeded, may_be_linked
from reespack.prefix.post_build import PostBuild, run_post_build
from reespack.prefix.wheels import WheelBuilder
from reespack.products import PlatformLock, Prefix
from reespack.progress import QUIET, Progress
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reespack.channels import ChannelSettings
    from reespack.model import EnvironmentSpec, Note, PipOptions, Repository
    from reespack.package_index import PackageIndex
    from reespack.products import FileChange, LockedPip
    from reespack.store import Cache

__all__ = ["make_prefix"]

DEFAULT_TIME = 315532800
"""1980-01-01T00:00:00Z, where the repository has no commit: what a zip file can express."""


def make_prefix(  # noqa: PLR0913 - the collaborators of a phase
    spec: EnvironmentSpec,
    lock: PlatformLock,
    *,
    path: Path,
    repository: Repository,
    channels: ChannelSettings,
    index: PackageIndex,
    cache: Path,
    shared_cache: Path | None = None,
    timeout: float | None,
    threads: int,
    when: int | None = None,
    progress: Progress = QUIET,
) -> Prefix:
    """Install a lock into the folder `path`, which must be absolute and empty or not there.

    Packages are kept below `cache`, and taken from `shared_cache` where that has them. `timeout`
    (seconds, None for no limit) holds for postBuild and
    for each wheel that is built; a build may use `threads` processors. `when` (seconds since the
    epoch; None for the commit's time) is what stands for the present. Raises InstallError,
    HashMismatchError and PostBuildError; what was made so far then stays at `path`, for the caller
    to look at or to remove. Programs that were started never outlive the call.
    """
    from reespack.store import Cache

    index = _with_options(index, spec.pip_options, repository)
    if when is None:
        when = DEFAULT_TIME if repository.commit_time is None else repository.commit_time
    with _translated(path):
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise InstallError(f"{path} is not empty", hint="give a folder of its own")
        with temporary_folder(path.parent, ".work-") as scratch:
            builder = WheelBuilder(
                prefix=path,
                repository=repository,
                index=index,
                cache=cache,
                scratch=scratch,
                when=when,
                timeout=timeout,
                threads=threads,
                progress=progress,
            )
            work = _Work(
                spec=spec,
                lock=lock,
                path=path,
                repository=repository,
                channels=channels,
                index=index,
                cache=Cache(cache, below=shared_cache),
                scratch=scratch,
                builder=builder,
                when=when,
                timeout=timeout,
                progress=progress,
            )
            if may_be_linked(spec, lock):
                try:
                    return work.make(linked=True)
                except CopiesNeeded:
                    progress.detail("files of the environment are written to: starting with copies")
                    remove_tree(path)
                    path.mkdir()
            return work.make(linked=False)


class _Work(Value):
    """What an environment is made of, and with what."""

    spec: EnvironmentSpec
    lock: PlatformLock
    path: Path
    repository: Repository
    channels: ChannelSettings
    index: PackageIndex
    cache: Cache
    scratch: Path
    builder: WheelBuilder
    when: int
    timeout: float | None
    progress: Progress

    def make(self, *, linked: bool) -> Prefix:
        """Install both halves and run postBuild; raise CopiesNeeded when links will not do."""
        self._install_conda(linked=linked)
        wheels, changes = self._install_pip(linked=linked)
        post = self._run_post_build()
        if not linked:
            _make_readable(self.path)
        return Prefix(
            path=self.path,
            lock=self.lock,
            wheels=wheels,
            changes=(*changes, *post.changes),
            leftovers=post.leftovers,
            notes=tuple(_placeless(note, self.scratch) for note in post.notes),
        )

    def _install_conda(self, *, linked: bool) -> None:
        from reespack.prefix.conda_half import install_conda
        from reespack.prefix.conda_meta import write_history, write_state

        install_conda(
            self.spec,
            self.lock,
            path=self.path,
            channels=self.channels,
            cache=self.cache,
            linked=linked,
            progress=self.progress,
        )
        (self.path / "conda-meta").mkdir(exist_ok=True)
        write_history(self.path, self.spec.conda, when=self.when)
        write_state(self.path, self.spec.variables)
        if not linked:  # modes are the cache's then, and what is packed has modes of its own
            _make_readable(self.path)

    def _install_pip(self, *, linked: bool) -> tuple[tuple[LockedPip, ...], tuple[FileChange, ...]]:
        from reespack.prefix.pip_half import install_pip

        return install_pip(
            self.spec,
            self.lock,
            path=self.path,
            repository=self.repository,
            builder=self.builder,
            index=self.index,
            linked=linked,
            scratch=self.scratch,
            progress=self.progress,
        )

    def _run_post_build(self) -> PostBuild:
        if self.spec.post_build is None:
            return PostBuild()
        return run_post_build(
            self.spec.post_build,
            path=self.path,
            repository=self.repository,
            builder=self.builder,
            index=self.index,
            scratch=self.scratch,
            timeout=self.timeout,
            progress=self.progress,
        )


def _placeless(note: Note, scratch: Path) -> Note:
    """Name folders that had another name in another build by what they are."""

    def plain(text: str | None) -> str | None:
        for place, sign in ((scratch / "repository", "REPO_DIR"), (scratch, "SCRATCH")):
            text = text.replace(str(place), sign) if text else text
        return text

    return dataclasses.replace(note, message=plain(note.message) or "", hint=plain(note.hint))


def _with_options(index: PackageIndex, options: PipOptions, repository: Repository) -> PackageIndex:
    """Return the index with what the requirements files say of it, which comes first."""
    places = (
        place if "://" in place else str(repository.root / place) for place in options.find_links
    )
    return dataclasses.replace(
        index,
        index_url=options.index_url or index.index_url,
        extra_index_urls=(*options.extra_index_urls, *index.extra_index_urls),
        find_links=(*places, *index.find_links),
        no_index=options.no_index or index.no_index,
    )


def _make_readable(path: Path) -> None:
    """Give every file and folder the mode that others can use, whatever the umask was."""
    path.chmod(0o755)
    for _, entry in walk(path):
        if entry.is_symlink():
            continue
        mode = entry.stat(follow_symlinks=False).st_mode & 0o7777
        wanted = 0o755 if entry.is_dir(follow_symlinks=False) or mode & 0o100 else 0o644
        if mode != wanted:
            Path(entry.path).chmod(wanted)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error of ours."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        hint = None
        if error.errno in {28, 122}:  # ENOSPC, EDQUOT
            hint = "free some space, or set REESPACK_CACHE and TMPDIR to another disk"
        raise InstallError(f"{where}: {error.strerror or error}", hint=hint) from error
