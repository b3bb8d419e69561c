"""Compile sources for another process; run by the environment's own Python, as a script.

It imports nothing but what every CPython has loaded when it starts, so it needs no `site`, and
whatever the environment holds has no part in it. On stdin come batches, on stdout go answers, both
as `batch` and `main` read and write them.
"""

from __future__ import annotations

import _frozen_importlib_external as bootstrap
import _imp
import marshal
import sys

TYPE_CHECKING = False  # importing typing would load much else
if TYPE_CHECKING:
    from types import CodeType


__all__ = ["main"]

_LENGTH = 4

_SHARED = [sys.intern(chr(number)) for number in range(256)] + [sys.intern("")]
"""Strings of which Python before 3.12 has one each; marshal writes whether any name was like it."""


def bytecode(name: str, source: bytes) -> bytes:
    """Return an unchecked-hash .pyc (PEP 552), or nothing for what is not Python of this version.

    marshal marks an object that may come again only where something else refers to it. Of a string,
    that may be anything that was compiled or loaded here before, for names are interned; so every
    string is referred to while it is written. And Python makes a frozen set anew, instead of having
    one for all places where it stands, if its strings were interned before (`intern_constants` in
    Objects/codeobject.c); so they are, by compiling twice what has any. Then the bytes follow from
    the source alone.
    """
    try:
        code = compile(source, name, "exec", 0, dont_inherit=True, optimize=0)
        held, has_sets = strings(code)
        if has_sets:
            code = compile(source, name, "exec", 0, dont_inherit=True, optimize=0)
            held += strings(code)[0]
        content = marshal.dumps(code)
        del held
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return b""
    raw_magic = int.from_bytes(bootstrap.MAGIC_NUMBER, "little")
    flags = b"\1\0\0\0"
    digest = _imp.source_hash(raw_magic, source)
    return bytes(bootstrap.MAGIC_NUMBER + flags + digest + content)


def strings(code: CodeType) -> tuple[list[str], bool]:
    """Return every string in a code object and those within it, and whether it has frozen sets."""
    found: list[str] = []
    has_sets = False
    pending: list[object] = [code]
    kind = type(code)
    while pending:
        one = pending.pop()
        if isinstance(one, kind):
            found += (one.co_name, one.co_filename, getattr(one, "co_qualname", ""))
            found += one.co_names + one.co_varnames + one.co_freevars + one.co_cellvars
            pending += one.co_consts
        elif isinstance(one, str):
            found.append(one)
        elif isinstance(one, (tuple, frozenset)):
            pending += one
            has_sets = has_sets or isinstance(one, frozenset)
    return found, has_sets


def main() -> None:
    """Say which Python this is; then answer batches until there are no more.

    A batch: the number of sources, then of each the lengths of name and content, then these. The
    answer: of each the length of its bytecode, then that. Numbers have four bytes, big-endian.
    """
    receive, send = sys.stdin.buffer, sys.stdout.buffer

    def number() -> int:
        return int.from_bytes(receive.read(_LENGTH), "big")

    about = (sys.implementation.cache_tag, bootstrap.MAGIC_NUMBER.hex(), f"{sys.hexversion:08x}")
    send.write(" ".join(str(one) for one in about).encode() + b"\n")
    send.flush()
    while True:
        head = receive.read(_LENGTH)
        if not head:
            return
        batch = []
        for _ in range(int.from_bytes(head, "big")):
            lengths = number(), number()
            batch.append([receive.read(length) for length in lengths])
        for name, source in batch:
            content = bytecode(name.decode("utf-8", "surrogateescape"), source)
            send.write(len(content).to_bytes(_LENGTH, "big"))
            send.write(content)
        send.flush()


if __name__ == "__main__":
    main()
