"""Archives of repositories that the catalog names, built by a batch job when they are missing.

A build runs a repository's own code (postBuild, package builds), so it never runs in the Hub's
process, nor as root, nor with the Hub's secrets: it is submitted as an account of its own, with a
short list of variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reespack.archive.names import SUFFIXES
from reespack.files import sha256_bytes
from reespack.hub.refusal import LOG, refusal
from reespack.hub.reports import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reespack.catalog import Entry, Source
    from reespack.hub.reports import Reports

__all__ = ["BUILD_OPTIONS", "SUBMIT", "Builds", "built_archive"]

SUBMIT = {
    "slurm": ("sbatch", "--wait", "--job-name=reespack-build", "--output=/dev/null"),
    "pbs": ("qsub", "-W", "block=true", "-N", "reespack-build", "-o", "/dev/null", "-j", "oe"),
    "lsf": ("bsub", "-K", "-J", "reespack-build", "-o", "/dev/null"),
    "here": ("/bin/sh",),
}
"""Commands that take a script on stdin and wait until it has run. `here`: beside the Hub."""

_KEPT = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
_KEPT_BEGINNINGS = ("LSF_", "PBS_", "PIP_", "REESPACK_", "SLURM_", "UV_")
_TAIL = 4000
_BETWEEN = 0.5
"""Seconds between two looks at a build's log."""

BUILD_OPTIONS = ("--with", "server")
"""For `reespack build`, where the configuration does not say otherwise."""

_SCRIPT = """\
#!/bin/sh
# Build an environment of the Hub's catalog; written by reespack.hub.
umask 022
mkdir -p {builds} || exit 1
exec >{log} 2>&1
set -eu
work=$(mktemp -d {work}.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT
{command} -o "$work/built"
# Whoever was first has it; an older Hub's job may still be running.
mv -T "$work/built" {target} || [ -d {target} ]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builds:
    """How missing archives are built, and where they go.

    `folder` must be seen by the Hub and by the nodes; `command` is how a job calls reespack,
    `options` are for `reespack build`; `submit` takes a script on stdin and waits for its end;
    `account` is whom it runs as where the Hub is root.
    """

    folder: Path
    command: tuple[str, ...]
    options: tuple[str, ...] = BUILD_OPTIONS
    submit: tuple[str, ...] = SUBMIT["slurm"]
    account: str | None = None
    _running: dict[Path, _Build] = field(default_factory=dict, init=False)

    def target(self, entry: Entry) -> Path:
        """Return the folder that an entry's build leaves its files in."""
        asked = json.dumps([_source(entry).repository, _source(entry).ref, *self.options])
        return self.folder / f"{entry.name}-{sha256_bytes(asked.encode())[:12]}"

    async def archive(self, entry: Entry, reports: Reports) -> Path:
        """Return the archive of a repository, built first if need be; once for all who wait.

        Raises an error for the user when that fails; the next one to ask tries again.
        """
        target = self.target(entry)
        found = await asyncio.to_thread(built_archive, target)
        if found is not None:
            return found
        build = self._running.get(target)
        if build is None:
            build = _Build(self, entry, target)
            self._running[target] = build
            build.task.add_done_callback(lambda _: self._running.pop(target, None))
        # Whoever gives up waiting must not end it for the others.
        await build.followed(reports)
        found = await asyncio.to_thread(built_archive, target)
        if found is None:
            raise build.error()
        return found

    def script(self, entry: Entry) -> str:
        """Return the job's script."""
        source, target = _source(entry), self.target(entry)
        build = [*self.command, "build", source.repository, "--ref", source.ref]
        build += ["--name", entry.name]
        quoted = {
            "builds": self.folder,
            "log": _log_of(target),
            "work": target.with_name(f".{target.name}"),
            "target": target,
        }
        return _SCRIPT.format(
            command=shlex.join([*build, *self.options]),
            **{key: shlex.quote(str(path)) for key, path in quoted.items()},
        )

    def submission(self) -> tuple[list[str], dict[str, str]]:
        """Return the command that a script is given to, and its variables."""
        variables = _without_secrets(os.environ)
        if os.geteuid() != 0 or self.account is None:
            return list(self.submit), variables
        import pwd

        person = pwd.getpwnam(self.account)
        variables |= {"HOME": person.pw_dir, "USER": self.account, "LOGNAME": self.account}
        return ["runuser", "-u", self.account, "--", *self.submit], variables


class _Build:
    """One build that is under way, and those who wait for it."""

    def __init__(self, builds: Builds, entry: Entry, target: Path) -> None:
        self._builds = builds
        self._entry = entry
        self._target = target
        self._waiting: list[Reports] = []
        self._last = "waiting for a node"
        self._problem = ""
        self._ended = asyncio.Event()
        self._submitted: asyncio.Future[tuple[bytes, bytes]] | None = None
        self.task = asyncio.ensure_future(self._run())

    async def followed(self, reports: Reports) -> None:
        """Wait for the end, and have what is said passed on to `reports`."""
        self._waiting.append(reports)
        reports.say(f"Building {self._entry.title}: {self._last}", progress=5)
        try:
            await asyncio.shield(self.task)
        finally:
            self._waiting.remove(reports)

    def error(self) -> Exception:
        """Return what those who waited are told."""
        LOG.error("%s cannot be built: %s", self._entry.name, self._problem)
        last = next(
            (line for line in self._problem.splitlines() if line.startswith("error:")), ""
        ).removeprefix("error:")
        return refusal(
            f"The environment {self._entry.title!r} could not be built.",
            hint=f"{plain(last)} Choose another one, or tell your site's help desk.".strip(),
            reason="build",
            status=500,
        )

    async def _run(self) -> None:
        if os.geteuid() == 0 and self._builds.account is None:
            self._problem = "the Hub is root: name an account for builds in reespack.hub.configure"
            return
        script = self._builds.script(self._entry)
        # Before there is a job, or the one that goes may be its own.
        await asyncio.to_thread(_forget, _log_of(self._target))
        try:
            command, variables = self._builds.submission()
            LOG.info("building %s: %s", self._entry.name, shlex.join(command))
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=variables,
                cwd="/",
            )
        except (OSError, KeyError) as error:
            self._problem = f"the build cannot be submitted: {error}"
            return
        self._submitted = asyncio.ensure_future(process.communicate(script.encode()))
        self._submitted.add_done_callback(lambda _: self._ended.set())
        # The archive counts: `sbatch --wait` looks for its job's end every ten seconds only.
        await self._read_log()
        if self._submitted.done():
            said = self._submitted.result()[0].decode(errors="replace")
            log = await asyncio.to_thread(_read_tail, _log_of(self._target))
            self._problem = f"exit code {process.returncode}\n{said}\n{log}"

    async def _read_log(self) -> None:
        """Pass on what the job writes, in whole lines, until it ends or the archive is there."""
        path, position = _log_of(self._target), 0
        over = False
        while not over:
            over = self._ended.is_set() or await asyncio.to_thread(self._is_built)
            # One more look at the log, for what was written before the end.
            lines, position = await asyncio.to_thread(_read_lines, path, position)
            for line in lines:
                self._last = line
                for reports in self._waiting:
                    reports.say(f"Building {self._entry.title}: {line}", progress=5)
            if not over:
                with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), _BETWEEN)

    def _is_built(self) -> bool:
        return built_archive(self._target) is not None


def _source(entry: Entry) -> Source:
    if entry.source is None:
        raise ValueError(f"{entry.name} has an archive of its own")
    return entry.source


def built_archive(folder: Path) -> Path | None:
    """Return the archive in a finished build's folder."""
    try:
        names = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))
    except OSError:
        return None
    return names[0] if names else None


def _log_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.log")


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_BEGINNINGS) or name.lower().endswith("_proxy")
    }


def _forget(log: Path) -> None:
    """Remove an earlier build's log, if that can be done: the job writes it anew."""
    try:
        log.unlink(missing_ok=True)
    except OSError:
        return


def _read_lines(log: Path, position: int) -> tuple[list[str], int]:
    try:
        with log.open("rb") as file:
            file.seek(position)
            content = file.read(1 << 16)
    except OSError:
        return [], position
    whole = content[: content.rfind(b"\n") + 1]
    lines = [plain(line) for line in whole.decode(errors="replace").splitlines()]
    return [line for line in lines if line], position + len(whole)


def _read_tail(log: Path) -> str:
    try:
        return log.read_bytes()[-_TAIL:].decode(errors="replace")
    except OSError:
        return ""
