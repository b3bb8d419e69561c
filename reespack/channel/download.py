"""Bringing wheels here from wherever the index keeps them."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import urllib.error
from typing import TYPE_CHECKING

from reespack.channel.conda_file import new_file
from reespack.errors import ChannelError, HashMismatchError, ReespackError
from reespack.index_files import IndexFiles

if TYPE_CHECKING:
    from pathlib import Path

    from reespack.channel.wheels import Wheel
    from reespack.package_index import PackageIndex

__all__ = ["Download"]

_ATTEMPTS = 3
_SERVER_ERRORS = 500  # HTTP's status codes from here on may pass
# Not all of OSError: a full disk is no fault of the network's.
_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
    ValueError,
)


class Download:
    """Downloads of wheels, each held against its sha256."""

    def __init__(self, index: PackageIndex) -> None:
        self._files = IndexFiles(index)

    def fetch(self, wheel: Wheel, folder: Path) -> Path:
        """Bring the wheel into the folder, its sha256 checked, and give its path.

        Raises `ChannelError` when it cannot be had, `HashMismatchError` when it is another one.
        """
        target = folder / wheel.sha256[:16] / wheel.file_name
        failure: ReespackError | None = None
        for _ in range(0 if target.exists() else _ATTEMPTS):
            failure = self._attempt(wheel, target)
            if failure is None:
                break
        if failure is not None:
            raise failure
        return target

    def sha256(self, url: str) -> str:
        """Read a file for its sha256, where the index tells none; raises `ChannelError`."""
        digest = hashlib.sha256()
        try:
            with self._files.open(url) as response:
                while block := response.read(1 << 18):
                    digest.update(block)
        except _NETWORK_ERRORS as error:
            raise _unreachable(url, error) from error
        return digest.hexdigest()

    def _attempt(self, wheel: Wheel, target: Path) -> ReespackError | None:
        """Try once; what went wrong is returned when trying again may help."""
        digest = hashlib.sha256()
        try:
            with self._files.open(wheel.url) as response, new_file(target) as out:
                while block := response.read(1 << 18):
                    digest.update(block)
                    out.write(block)
        except urllib.error.HTTPError as error:
            if error.code < _SERVER_ERRORS:
                raise _unreachable(wheel.file_name, error) from error
            return _unreachable(wheel.file_name, error)
        except _NETWORK_ERRORS as error:
            return _unreachable(wheel.file_name, error)
        if digest.hexdigest() == wheel.sha256:
            return None
        target.unlink()
        return HashMismatchError(
            f"{wheel.file_name} is not what the index says",
            hint="a mirror or a proxy may hold a broken copy; try again later",
            detail=f"expected sha256 {wheel.sha256}\n     got sha256 {digest.hexdigest()}",
        )


def _unreachable(what: str, error: Exception) -> ChannelError:
    reason = getattr(error, "reason", None) or error
    return ChannelError(
        f"{what} cannot be downloaded: {reason}",
        hint="check HTTPS_PROXY and SSL_CERT_FILE; what was made so far is kept, so run it again",
    )
