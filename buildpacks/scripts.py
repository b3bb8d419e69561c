"""What postBuild and start have in common: a script that the system must be able to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.malformed import at, malformed
from reespack.model import Note

if TYPE_CHECKING:
    from reespack.model import Repository

__all__ = ["judge_script"]

_ELF = b"\x7fELF"


def judge_script(repository: Repository, path: str) -> tuple[Note, ...]:
    """Return notes on a script; raise MalformedFileError when no system would run it."""
    content = repository.read_bytes(path)
    first = content.split(b"\n", 1)[0]
    if content.startswith(_ELF):
        return ()
    if first.startswith(b"#!"):
        if first.endswith(b"\r"):
            raise malformed(
                at(path, 1),
                "has Windows line ends, so that its interpreter is not found",
                f"save it with Unix line ends, as `dos2unix {path}` does",
            )
        return ()
    return (
        Note(
            message="has no `#!` line, and is run as a shell script",
            hint="begin it with `#!/bin/bash`",
            origin=at(path, 1),
        ),
    )
