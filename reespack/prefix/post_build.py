"""postBuild: the repository's own last step, in a copy of the tree and the activated environment.

repo2docker makes the file executable and has the shell run it. So does this: the kernel reads the
first line; a script without one is taken by bash, as a shell does with a file that the kernel does
not know how to start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import PostBuildError
from reespack.files import walk
from reespack.model import Note, Origin
from reespack.prefix.activation import activated, neutral
from reespack.prefix.changes import compare, take_snapshot
from reespack.prefix.conda_meta import conda_files
from reespack.prefix.distributions import recorded_digests
from reespack.prefix.editables import replace_editables, tidy_installed
from reespack.prefix.steady import UMASK
from reespack.process import Completed, run
from reespack.products import FileChange
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reespack.model import Repository
    from reespack.package_index import PackageIndex
    from reespack.prefix.wheels import WheelBuilder
    from reespack.progress import Progress

__all__ = ["PostBuild", "run_post_build"]

_ELF = b"\x7fELF"
_KILLED = 128 + 9
_SHOWN = 5
_UNIX_LINES = "save it with Unix line ends (LF)"
_NO_CONDA = (
    "there is no conda here: list the packages in environment.yml, or put a conda on PATH "
    "(it will work on the new environment)"
)
_HINTS = (
    (("conda: command not found", "conda: not found"), _NO_CONDA),
    (("mamba: command not found", "mamba: not found"), _NO_CONDA),
    (
        ("sudo:", "apt-get:", "apt:", "are you root?"),
        "nothing here runs as root: list system packages in apt.txt",
    ),
    (
        ("npm: command not found", "node: command not found"),
        "add nodejs to environment.yml's dependencies",
    ),
    (("\\r'",), _UNIX_LINES),
    (
        ("command not found",),
        "add the package that has the missing command to environment.yml",
    ),
    (
        ("No space left on device",),
        "the disk is full: free some space, or set TMPDIR elsewhere",
    ),
)
"""What to do about the commonest reasons for a failure: signs in the output, and a hint."""


class PostBuild(Value):
    """What postBuild did to the environment, and what it left in its scratch HOME."""

    changes: tuple[FileChange, ...] = ()
    leftovers: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def run_post_build(  # noqa: PLR0913 - the collaborators of a phase
    hook: str,
    *,
    path: Path,
    repository: Repository,
    builder: WheelBuilder,
    index: PackageIndex,
    scratch: Path,
    timeout: float | None,
    progress: Progress,
) -> PostBuild:
    """Run `hook`, a path in the repository, and say what it changed.

    `timeout` is in seconds; the hook and all that it started end with it. Raises PostBuildError
    with the end of its output, and RepositoryError when `hook` leads out of the repository.
    """
    copy = scratch / "repository" / repository.name
    root = builder.copy_repository(copy)
    # Resolved in the original: a link must not make the user's own file executable.
    program = copy / repository.resolve(hook).relative_to(repository.top)
    program.chmod(program.stat().st_mode | 0o755)
    home, temporary = scratch / "home", scratch / "tmp"
    home.mkdir()
    temporary.mkdir()
    environ = activated(
        path, {**_environment(home, temporary, root, path, index), **builder.surroundings()}
    )
    digests = {
        **recorded_digests(path),
        **{name: file.sha256 for name, file in conda_files(path).items()},
    }
    before, tree = take_snapshot(path), take_snapshot(copy)

    progress.step(f"running {hook}")
    done = _start(program, hook, cwd=root, env=environ, timeout=timeout, progress=progress)
    if not done.ok:
        raise _failure(hook, done)

    notes = list(
        replace_editables(path, builder=builder, index=index, scratch=scratch, progress=progress)
    )
    tidy_installed(path)
    changes = tuple(
        FileChange(path=name, change=change, by="postBuild")
        for name, change in compare(before, take_snapshot(path), path, known=digests.get)
    )
    left = leftovers(home)
    written = [
        name
        for name, change in compare(tree, take_snapshot(copy), copy)
        if change != "deleted" and not name.startswith(".git/")
    ]
    origin = Origin(file=hook)
    notes += _notes(left, written, origin)
    return PostBuild(changes=changes, leftovers=left, notes=tuple(notes))


def leftovers(home: Path) -> tuple[str, ...]:
    """Return what lies in a scratch HOME: each file, but a cache as a whole."""
    found: dict[str, None] = {}
    for name, entry in walk(home):
        if name.startswith(".cache/"):
            found[".cache/"] = None
        elif not entry.is_dir(follow_symlinks=False):
            found[name] = None
    return tuple(found)


def _start(  # noqa: PLR0913 - each is a property of one child process
    program: Path,
    hook: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float | None,
    progress: Progress,
) -> Completed:
    with program.open("rb") as file:
        head = file.read(256)
    first = head.split(b"\n", 1)[0]
    if first.startswith(b"#!") and first.endswith(b"\r"):
        raise PostBuildError(f"{hook}: its lines end as on Windows (CRLF)", hint=_UNIX_LINES)
    command: list[str | Path] = [program]
    if not head.startswith((b"#!", _ELF)):
        shell = shutil.which("bash", path=env.get("PATH")) or "/bin/sh"
        command = [shell, program]
    try:
        return run(
            command,
            cwd=cwd,
            env=env,
            timeout=timeout,
            on_output=progress.output,
            umask=UMASK,
        )
    except OSError as error:
        line = first.decode("utf-8", errors="replace")
        hint = "the program that its first line names must be in the environment or the system"
        if isinstance(error, PermissionError):
            hint = "is the build folder on a file system mounted noexec? set TMPDIR elsewhere"
        raise PostBuildError(
            f"{hook} cannot be started: {error.strerror} ({line})", hint=hint
        ) from error


def _failure(hook: str, done: Completed) -> PostBuildError:
    ending = done.ending
    with contextlib.suppress(ValueError):
        # How a shell says that the last program it ran was killed.
        ending += f" (killed by {signal.Signals(done.returncode - 128).name})"
    return PostBuildError(f"{hook} {ending}", hint=_hint(done), detail="\n".join(done.tail) or None)


def _hint(done: Completed) -> str:
    """Say what to do about the commonest reasons for a failed postBuild."""
    output = "\n".join(done.tail)
    if done.timed_out:
        return "give it more time with --timeout, or look for what it waits for: it has no input"
    if done.returncode in {-9, _KILLED}:
        return "the machine may have run out of memory, or a limit on processes was reached"
    return next(
        (hint for signs, hint in _HINTS if any(sign in output for sign in signs)),
        "it ran in a copy of the repository, with the environment activated",
    )


def _notes(left: Sequence[str], written: Sequence[str], origin: Origin) -> list[Note]:
    """Say what postBuild did that the archive will not hold."""
    notes = []
    kept = [name for name in left if name != ".cache/"]
    if kept:
        notes.append(
            Note(
                message="what it left in its home folder is not part of the environment: "
                f"{_listed(kept)}",
                hint='write below "$CONDA_PREFIX", or install without --user',
                origin=origin,
            )
        )
    if written:
        notes.append(
            Note(
                message="what it wrote into its copy of the repository is not part of the "
                f"environment: {_listed(written)}",
                origin=origin,
                level="info",
            )
        )
    return notes


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


# --- the environment it sees -------------------------------------------------------------------


def _environment(
    home: Path, temporary: Path, root: Path, path: Path, index: PackageIndex
) -> dict[str, str]:
    """Return the variables that the hook starts from, before activation.

    The user's own configuration of pip, conda, git and .netrc still counts, though HOME is another.
    """
    environ = neutral(os.environ)
    real_home = Path.home()
    configured = {
        "PIP_CONFIG_FILE": _first_file(
            Path(os.environ.get("XDG_CONFIG_HOME") or real_home / ".config") / "pip" / "pip.conf",
            real_home / ".pip" / "pip.conf",
        ),
        "CONDARC": _first_file(real_home / ".condarc"),
        "NETRC": _first_file(real_home / ".netrc"),
        "GIT_CONFIG_GLOBAL": _first_file(real_home / ".gitconfig"),
        # pip asks rustc for its version, and rustup's would set itself up in an empty HOME.
        "RUSTUP_HOME": _first_folder(real_home / ".rustup"),
    }
    pip = {
        "PIP_INDEX_URL": index.index_url,
        "PIP_EXTRA_INDEX_URL": " ".join(index.extra_index_urls),
        "PIP_FIND_LINKS": " ".join(index.find_links),
        "PIP_NO_INDEX": "1" if index.no_index else None,
        "PIP_CERT": index.cert,
        "PIP_PROXY": index.proxy,
        "PIP_TRUSTED_HOST": " ".join(index.trusted_hosts),
    }
    defaults = {name: value for name, value in {**configured, **pip}.items() if value}
    return {
        **defaults,
        **index.variables(environ),
        # uv's cache is not the hook's to write to; what it downloads stays in its HOME.
        "UV_CACHE_DIR": str(home / ".cache" / "uv"),
        "UV_LINK_MODE": "copy",
        "UV_BREAK_SYSTEM_PACKAGES": "1",
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",  # the environment is nobody else's
        # Bytecode is compiled later, once; here it would only be in the way.
        # (PIP_NO_COMPILE=1 would mean "compile": pip reads it as the value of its own opposite.)
        "PIP_COMPILE": "0",
        "PYTHONPYCACHEPREFIX": str(temporary / "pycache"),
        "PATH": _system_path(os.environ),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "REPO_DIR": str(root),
        "NB_PYTHON_PREFIX": str(path),
        "KERNEL_PYTHON_PREFIX": str(path),
    }


def _first_file(*candidates: Path) -> str | None:
    return next((str(file) for file in candidates if file.is_file()), None)


def _first_folder(*candidates: Path) -> str | None:
    return next((str(folder) for folder in candidates if folder.is_dir()), None)


def _system_path(environ: Mapping[str, str]) -> str:
    """Return PATH without the folders of other environments, reespack's own among them."""
    others = {Path(sys.executable).parent, Path(sys.prefix) / "bin"}
    others |= {
        Path(environ[name]) / "bin" for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)
    }
    entries = (environ.get("PATH") or os.defpath).split(os.pathsep)
    return os.pathsep.join(
        entry
        for entry in entries
        if entry and Path(entry) not in others and not entry.endswith("/shims")
    )
