"""The sum of an archive as a whole, taken while the archive is unpacked."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from reespack.errors import VerificationError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["require_same", "required_sum"]

_CHUNK = 1 << 20


@contextlib.contextmanager
def required_sum(archive: Path, sha256: str) -> Iterator[None]:
    """Raise VerificationError at the end of the `with` when the archive's sha256 is another one.

    Another thread takes it. Raises the OSError of an archive that cannot be read. What goes wrong
    inside comes first.
    """
    import threading  # where there are processes, one of them does this

    found: list[str | OSError] = []
    stop = threading.Event()
    thread = threading.Thread(target=_take, args=(archive, found, stop), daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        stop.set()
        raise
    finally:
        thread.join()
    (digest,) = found
    if isinstance(digest, OSError):
        raise digest
    require_same(archive, digest, sha256)


def require_same(archive: Path, digest: str, sha256: str) -> None:
    """Raise VerificationError unless an archive's `digest` is the `sha256` that it should be."""
    if digest != sha256:
        raise VerificationError(
            f"{archive} is not the archive that the files beside it describe",
            hint="build or fetch it again, or remove the manifest and SHA256SUMS beside it",
            detail=f"its sha256 is {digest}\nexpected is   {sha256}",
        )


def _take(archive: Path, found: list[str | OSError], stop: threading.Event) -> None:
    digest = hashlib.sha256()
    try:
        with archive.open("rb", buffering=0) as file:
            while (chunk := file.read(_CHUNK)) and not stop.is_set():
                digest.update(chunk)
    except OSError as error:
        found.append(error)
    else:
        found.append(digest.hexdigest())
