"""Which wheels meet the requirements, chosen by uv, and how they get here."""

from __future__ import annotations

import base64
import hashlib
import netrc
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from reespack.channel.conda_file import new_file
from reespack.errors import (
    ChannelError,
    HashMismatchError,
    MalformedFileError,
    UnsatisfiableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reespack.channel.interpreter import Interpreter

__all__ = ["Wheel", "check_requirements", "closure", "fetch"]

_TIMEOUT = 60  # seconds without a byte from the index
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel of the index: normalised name, PEP 440 version, where it is, its sha256."""

    name: str
    version: str
    url: str
    sha256: str
    tags: frozenset[Tag]

    @property
    def file_name(self) -> str:
        """The file's name, as the index gives it."""
        return urllib.parse.unquote(self.url.split("#")[0].rstrip("/").rpartition("/")[2])

    @property
    def pure(self) -> bool:
        """Whether it serves every platform and any Python 3."""
        return any(tag.platform == "any" and tag.abi == "none" for tag in self.tags) and any(
            tag.interpreter == "py3" for tag in self.tags
        )


def check_requirements(requirements: Iterable[str], files: Iterable[Path]) -> None:
    """Raise `UsageError` for what is no requirement, `MalformedFileError` for no such file."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in requirements:
        try:
            Requirement(text)
        except InvalidRequirement as error:
            raise UsageError(
                f"not a requirement: {text!r}",
                hint="write it as pip takes it: numpy, 'numpy>=2', 'requests[socks]==2.32.*'",
                detail=str(error),
            ) from error
    for path in files:
        if not path.is_file():
            raise UsageError(f"no such requirements file: {path}")


def closure(
    interpreter: Interpreter, requirements: Sequence[str], files: Sequence[Path]
) -> tuple[Wheel, ...]:
    """The wheels that uv chooses for an interpreter, one per distribution, in order of name.

    uv reads its own settings and variables. Raises `UnsatisfiableError` with uv's explanation when
    no wheels meet the requirements, `MalformedFileError` for a requirements file it cannot read,
    `ChannelError` when the index cannot be reached.
    """
    import uv

    command = [
        uv.find_uv_bin(),
        *("pip", "compile", "--quiet", "--no-python-downloads", "--no-header"),
        *("--only-binary", ":all:", "--format", "pylock.toml"),
        *("--python", str(interpreter.executable)),
        *map(str, files),
        "-",
    ]
    text = "".join(f"{requirement}\n" for requirement in requirements)
    outcome = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise _explained(outcome.stderr, interpreter)
    tags = [tag for tag in _tags(interpreter)]
    rows = _toml(outcome.stdout).get("packages", [])
    return tuple(_choose(row, tags, interpreter) for row in sorted(rows, key=lambda r: r["name"]))


def _toml(text: str) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _explained(stderr: str, interpreter: Interpreter) -> UnsatisfiableError | ChannelError | Any:
    lines = [line for line in stderr.splitlines() if not line.startswith("warning:")]
    detail = "\n".join(lines).strip()
    lowered = detail.lower()
    if "no solution found" in lowered or "not found in the package registry" in lowered:
        return UnsatisfiableError(
            f"no set of wheels meets the requirements for Python {interpreter.version}",
            hint="a distribution without a wheel can be built (pip wheel) and its folder named in "
            "UV_FIND_LINKS",
            detail=detail,
        )
    if any(word in lowered for word in ("failed to fetch", "error sending request", "connect")):
        return ChannelError(
            "the Python index cannot be reached",
            hint="set UV_INDEX_URL (UV_DEFAULT_INDEX), or HTTPS_PROXY, as for uv",
            detail=detail,
        )
    return MalformedFileError(
        f"uv cannot read the requirements: {lines[0].removeprefix('error: ') if lines else '?'}",
        detail=detail,
    )


def _tags(interpreter: Interpreter) -> list[Tag]:
    version = tuple(int(number) for number in interpreter.minor.split("."))
    platforms = list(platform_tags())
    return [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, f"cp{interpreter.tag}", platforms=platforms),
    ]


def _choose(row: dict[str, Any], tags: Sequence[Tag], interpreter: Interpreter) -> Wheel:
    name = canonicalize_name(row["name"])
    order = {tag: position for position, tag in enumerate(tags)}
    found: list[tuple[int, str, Wheel]] = []
    for entry in (*row.get("wheels", ()), *([row["archive"]] if "archive" in row else ())):
        url = entry.get("url") or Path(entry["path"]).absolute().as_uri()
        wheel_name = urllib.parse.unquote(url.split("#")[0].rpartition("/")[2])
        try:
            _name, version, _build, wheel_tags = parse_wheel_filename(wheel_name)
        except InvalidWheelFilename:
            continue
        best = min((order[tag] for tag in wheel_tags if tag in order), default=None)
        if best is not None:
            sha256 = entry.get("hashes", {}).get("sha256") or _hash(url)
            wheel = Wheel(
                name=name, version=str(version), url=url, sha256=sha256, tags=wheel_tags
            )
            found.append((best, url, wheel))
    if not found:
        raise UnsatisfiableError(
            f"{name} {row.get('version', '')} has no wheel for Python {interpreter.version} on "
            f"{interpreter.subdir}",
            hint="build one with pip wheel, and name its folder in UV_FIND_LINKS",
        )
    return min(found, key=lambda one: one[:2])[2]


def _hash(url: str) -> str:
    """The sha256 of a wheel that the index tells none of."""
    digest = hashlib.sha256()
    with _open(url) as response:
        while block := response.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(wheel: Wheel, folder: Path) -> Path:
    """Bring the wheel into the folder, its sha256 checked, and give its path.

    Raises `ChannelError` when it cannot be had and `HashMismatchError` when it is another one.
    """
    target = folder / wheel.sha256[:16] / wheel.file_name
    if target.exists():
        return target
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            digest = _download(wheel.url, target)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == _ATTEMPTS:  # noqa: PLR2004 - HTTP's own numbers
                raise _unreachable(wheel, error) from error
        except OSError as error:
            if attempt == _ATTEMPTS:
                raise _unreachable(wheel, error) from error
    if digest != wheel.sha256:
        target.unlink(missing_ok=True)
        raise HashMismatchError(
            f"{wheel.file_name} is not what the index says",
            hint="a mirror or a proxy may hold a broken copy; try again later",
            detail=f"expected sha256 {wheel.sha256}\n     got sha256 {digest}",
        )
    return target


def _unreachable(wheel: Wheel, error: OSError) -> ChannelError:
    return ChannelError(
        f"{wheel.file_name} cannot be downloaded: {error}",
        hint="check HTTPS_PROXY and SSL_CERT_FILE; what was made so far is kept, so run it again",
    )


def _download(url: str, target: Path) -> str:
    digest = hashlib.sha256()
    with _open(url) as response, new_file(target) as out:
        while block := response.read(1 << 18):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _open(url: str) -> Any:  # noqa: ANN401 - http.client's or urllib's response
    """Open a URL with the credentials it carries, or netrc's."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https", "file"}:
        raise ChannelError(f"cannot download from {parts.scheme}: URLs", detail=url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        urllib.parse.urlunsplit(parts._replace(netloc=host, fragment=""))
    )
    if (login := _login(parts)) is not None:
        token = base64.b64encode(":".join(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310 - as above


def _login(parts: urllib.parse.SplitResult) -> tuple[str, str] | None:
    if parts.username is not None:
        unquote = urllib.parse.unquote
        return unquote(parts.username), unquote(parts.password or "")
    try:
        found = netrc.netrc().authenticators(parts.hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2] or "") if found else None
