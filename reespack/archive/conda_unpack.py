"""Mend the prefixes of an environment that was unpacked, or moved, to where it now is.

This module is two things: the functions that `reespack unpack` mends files with while it writes
them, and, behind a few lines of shell, the whole of `bin/conda-unpack` in every archive. So both
leave the same bytes. It uses the standard library only and runs on any Python since 3.7.

`share/reespack/placeholders.json` says where in each file the prefix belongs, as offsets into the
file as it was packed; `share/reespack/prefix` says for which prefix the files were last mended, so
that an environment can be moved again and again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys

TYPE_CHECKING = False  # importing typing takes longer than mending
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]
    Placeholders = tuple[list[bytes], list[Record]]

__all__ = [
    "PLACEHOLDERS",
    "STATE",
    "decoded",
    "main",
    "mend_environment",
    "mended",
    "mended_file",
    "shebang",
    "too_long",
]

PLACEHOLDERS = "share/reespack/placeholders.json"
STATE = "share/reespack/prefix"
SHEBANG_LIMIT = 127
"""Bytes of a `#!` line that every Linux reads (BINPRM_BUF_SIZE before 5.1, less the end)."""


def decoded(content: bytes) -> Placeholders:
    """Read the content of placeholders.json: the placeholders, and a record for each file.

    A record has `path` and either `text` (an index into the placeholders), `at` (the offsets of
    that placeholder beyond the first line's), `size` (the file's as it was packed) and perhaps
    `shebang` (what stands before and after it in the first line), or `strings`: for each
    NUL-terminated string the placeholder's index, its offsets, and the end of the room that string
    has. `loose` marks a binary file in which no package announced a prefix: there a prefix that
    does not fit is left out.
    """
    document = json.loads(content.decode("utf-8"))
    return [os.fsencode(text) for text in document["placeholders"]], document["files"]


def shebang(before: bytes, after: bytes, prefix: bytes) -> bytes:
    """Return a first line that runs `prefix + after`, however long the prefix or odd its name.

    Linux cuts a `#!` line after 127 bytes, and splits it at blanks: then a Python script is started
    by a shell that Python takes for a string, and any other one through PATH.
    """
    line = before + prefix + after
    if len(line) <= SHEBANG_LIMIT and not any(blank in prefix for blank in b" \t"):
        return line
    program, _, options = after.partition(b" ")
    options = b" " + options if options else b""
    name = program.rpartition(b"/")[2]
    if not name.startswith((b"python", b"pypy")):
        return b"#!/usr/bin/env " + (b"-S " if options else b"") + name + options
    quoted = (prefix + program).replace(b"'", b"'\\''")
    return b"#!/bin/sh\n'''exec' '" + quoted + b"'" + options + b' "$0" "$@" #\'\'\''


def too_long(placeholders: Placeholders, prefix: bytes) -> list[tuple[str, int]]:
    """Return (path, room in bytes) of the binary files that have no room for `prefix`."""
    texts, records = placeholders
    return [
        (record["path"], room)
        for record in records
        if "strings" in record and not record.get("loose")
        for room in [min(len(texts[string[0]]) for string in record["strings"])]
        if room < len(prefix)
    ]


def mended(
    content: bytes, record: Record, texts: list[bytes], old: bytes | None, new: bytes
) -> bytes | None:
    """Return `content` with the prefix `old` (None: as packed) replaced by `new`.

    Return None when `content` is not what it would be if mended for `old`.
    """
    if "strings" in record:
        return _mended_binary(content, record, texts, old, new)
    return _mended_text(content, record, texts[record["text"]], old, new)


def _mended_text(
    content: bytes, record: Record, placeholder: bytes, old: bytes | None, new: bytes
) -> bytes | None:
    present = placeholder if old is None else old
    growth = (len(present) - len(placeholder)) * len(record["at"])
    pieces = []
    here = there = 0  # in `content`, and in the file as it was packed
    if "shebang" in record:
        before, after = (os.fsencode(part) for part in record["shebang"])
        packed = before + placeholder + after
        line = packed if old is None else shebang(before, after, old)
        if not content.startswith(line):
            return None
        pieces.append(shebang(before, after, new))
        here, there = len(line), len(packed)
    if len(content) != record["size"] + growth + here - there:
        return None  # without this, a file mended for /a/b might pass for one mended for /a
    for offset in record["at"]:
        start = here + offset - there
        end = start + len(present)
        if content[start:end] != present:
            return None
        pieces += [content[here:start], new]
        here, there = end, offset + len(placeholder)
    pieces.append(content[here:])
    return b"".join(pieces)


def _mended_binary(
    content: bytes, record: Record, texts: list[bytes], old: bytes | None, new: bytes
) -> bytes | None:
    result = bytearray(content)
    for string in record["strings"]:
        placeholder = texts[string[0]]
        offsets, end = string[1:-1], string[-1]
        fit = [
            placeholder if prefix is None or len(prefix) > len(placeholder) else prefix
            for prefix in (old, new)
        ]
        pieces = []
        here = offsets[0]
        for offset, following in zip(offsets, [*offsets[1:], end]):  # noqa: B905 - not in Python 3.7
            rest = following - offset - len(placeholder)
            if content[here : here + len(fit[0])] != fit[0]:
                return None
            here += len(fit[0])
            pieces += [fit[1], content[here : here + rest]]
            here += rest
        if content[here:end].strip(b"\0"):
            return None
        result[offsets[0] : end] = b"".join(pieces).ljust(end - offsets[0], b"\0")
    return bytes(result)


def mended_file(
    path: str,
    record: Record,
    texts: list[bytes],
    olds: list[bytes | None],
    new: bytes,
) -> bool:
    """Mend one file in its place, by one rename; return whether it was one that reespack packed.

    A file that has changed since is searched for the old prefixes when it is text, and left alone
    when it is binary. Mode and time stay as they are.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - as quick as can be: this runs once per file
        content = file.read()
    known = True
    for old in [new, *olds]:
        result = mended(content, record, texts, old, new)
        if result is not None:
            break
    else:
        known = False
        result = content
        searched = [re.escape(old) for old in olds if old and old != new]
        if "strings" not in record and searched:
            pattern = b"(?:" + b"|".join(searched) + rb")(?![\w.-])"
            result = re.sub(pattern, lambda _: new, result)
    if result != content:
        replace_content(path, result)
        if path.endswith(".py"):
            _forget_bytecode(path)
    return known


def replace_content(path: str, content: bytes) -> None:
    """Give a file another content in one step: a running program keeps the one it opened."""
    import tempfile  # reespack imports this module where it mends files before they are written

    status = os.stat(path)  # noqa: PTH116
    handle, temporary = tempfile.mkstemp(prefix=".conda-unpack-", dir=os.path.dirname(path))  # noqa: PTH120
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, status.st_mode & 0o7777)  # noqa: PTH101
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _forget_bytecode(path: str) -> None:
    """Remove what Python compiled of a module: its time and size may still fit, its text not."""
    folder, name = os.path.split(path)
    cache = os.path.join(folder, "__pycache__")  # noqa: PTH118
    if not os.path.isdir(cache):  # noqa: PTH112
        return
    for entry in os.listdir(cache):  # noqa: PTH208
        if entry.startswith(name[:-2]) and entry.endswith(".pyc"):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(cache, entry))  # noqa: PTH108, PTH118


def mend_environment(root: str, prefix: str | None = None) -> int:
    """Mend every file of the environment at `root`; return the exit code.

    With `prefix`, it is mended for that place, to be moved there afterwards. The state file names
    the old and the new prefix while this runs, so that an interrupted run can be taken up again.
    """
    new = os.fsencode(prefix or root)
    if b"\n" in new:
        return _fail("an environment's path must not contain a line break")
    state = os.path.join(root, STATE)  # noqa: PTH118
    olds = []
    if os.path.exists(state):  # noqa: PTH110
        with open(state, "rb") as file:  # noqa: PTH123
            olds = file.read().split(b"\n")[:-1]
    if len(olds) == 1 and (olds[0] == new or _same(olds[0], prefix or root)):
        return 0
    with open(os.path.join(root, PLACEHOLDERS), "rb") as file:  # noqa: PTH118, PTH123
        placeholders = decoded(file.read())
    no_room = too_long(placeholders, new)
    if no_room:
        path, room = min(no_room, key=lambda item: item[1])
        return _fail(
            f"the path {os.fsdecode(new)} is too long for {path}, which has room for {room} bytes"
        )
    _write(state, b"".join(old + b"\n" for old in [*(old for old in olds if old != new), new]))
    texts, records = placeholders
    for record in records:
        path = os.path.join(root, record["path"])  # noqa: PTH118
        if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
            known = mended_file(path, record, texts, [*olds, None], new)
            if not known and "strings" in record:
                _warn(f"{record['path']} has changed since it was packed and is left alone")
            elif "strings" in record and any(
                len(texts[s[0]]) < len(new) for s in record["strings"]
            ):
                _warn(f"{record['path']} has no room for {os.fsdecode(new)} and is left without it")
    _write(state, new + b"\n")
    return 0


def _same(old: bytes, root: str) -> bool:
    """Say whether `old` is another name of `root`."""
    try:
        return os.path.samefile(old, root)  # noqa: PTH121
    except OSError:
        return False


def _write(path: str, content: bytes) -> None:
    with open(path + ".new", "wb") as file:  # noqa: PTH123
        file.write(content)
    os.chmod(path + ".new", 0o644)  # noqa: PTH101 - others may run the environment
    os.replace(path + ".new", path)  # noqa: PTH105


def _warn(message: str) -> None:
    sys.stderr.write(f"conda-unpack: warning: {message}\n")


def _fail(message: str) -> int:
    sys.stderr.write(f"conda-unpack: {message}\n")
    return 1


def main() -> int:
    """Mend the environment that this script lies in."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="conda-unpack",
        description="Finish unpacking an environment, or moving one that was unpacked: put its "
        "present place into every file that names it.",
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument(
        "--prefix", metavar="PATH", help="mend it for this place, to be moved there afterwards"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say what was done")
    arguments = parser.parse_args()
    if arguments.version:
        sys.stdout.write("conda-unpack (reespack archive format 1)\n")
        return 0
    script = os.path.abspath(__file__)  # noqa: PTH100
    if not os.path.exists(os.path.join(os.path.dirname(os.path.dirname(script)), PLACEHOLDERS)):  # noqa: PTH110, PTH118, PTH120
        script = os.path.realpath(script)
    root = os.path.dirname(os.path.dirname(script))  # noqa: PTH120
    try:
        code = mend_environment(root, arguments.prefix)
    except (OSError, ValueError, KeyError) as error:
        return _fail(f"{root} cannot be mended: {error}")
    if arguments.verbose and code == 0:
        sys.stdout.write(f"{root} is mended\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
