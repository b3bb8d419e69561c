"""Writing a `.conda` package so that the same content always gives the same bytes.

The format is CEP 26 and the conda documentation's "conda package specification": a stored zip
with `metadata.json`, `pkg-NAME.tar.zst` (the files) and `info-NAME.tar.zst` (what describes them).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["PLACEHOLDER", "PackageFile", "PackageInfo", "new_file", "write_conda_file"]

# 255 characters, as conda-build's: room for any prefix in files that cannot grow.
PLACEHOLDER = ("/reespack" + "_placehold" * 25)[:255]

_ZSTD_LEVEL = 6  # about 80 MB/s; higher levels gain little on a file that is read once


class PackageFile(Value):
    """One file of a package: `path` below the prefix, its bytes or what it links to."""

    path: str
    read: Callable[[], bytes] = bytes
    executable: bool = False
    placeholder: Literal["text", "binary"] | None = None
    link: str | None = None


class PackageInfo(Value):
    """What `info/index.json` and `info/about.json` say; `timestamp` is in milliseconds (UTC)."""

    name: str
    version: str
    build: str
    build_number: int = 0
    subdir: str
    noarch: Literal["python", "generic"] | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    timestamp: int
    license: str = ""
    summary: str = ""
    home: str = ""
    entry_points: tuple[str, ...] = ()
    site_packages: str | None = None

    @property
    def file_name(self) -> str:
        """The package's name in its channel."""
        return f"{self.name}-{self.version}-{self.build}.conda"


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file that appears as `target` when the block ends well, and not at all otherwise.

    Its mode is 0644 and not the umask's, which many threads cannot ask for.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            temporary.chmod(0o644)
            os.replace(temporary, target)  # noqa: PTH105 - the name says that it is atomic
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_conda_file(folder: Path, info: PackageInfo, files: Sequence[PackageFile]) -> Path:
    """Write the package into the channel's `folder` (below it, the subdir) and give its path."""
    target = folder / info.subdir / info.file_name
    stem = target.name.removesuffix(".conda")
    ordered = sorted(files, key=lambda file: file.path)
    with (
        tempfile.TemporaryFile() as content,
        tempfile.TemporaryFile() as described,
        new_file(target) as out,
    ):
        paths = _write_content(content, ordered, info)
        _write_info(described, info, paths)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            metadata = io.BytesIO(_json({"conda_pkg_format_version": 2}))
            _store(archive, "metadata.json", metadata, info)
            _store(archive, f"pkg-{stem}.tar.zst", content, info)
            _store(archive, f"info-{stem}.tar.zst", described, info)
    return target


def _store(archive: zipfile.ZipFile, name: str, source: IO[bytes], info: PackageInfo) -> None:
    when = datetime.fromtimestamp(max(info.timestamp // 1000, 315532800), tz=timezone.utc)
    entry = zipfile.ZipInfo(name, when.timetuple()[:6])
    entry.external_attr = 0o644 << 16
    entry.file_size = source.seek(0, io.SEEK_END)
    source.seek(0)
    with archive.open(entry, "w") as out:
        while block := source.read(1 << 20):
            out.write(block)


@contextmanager
def _tar(out: IO[bytes]) -> Iterator[tarfile.TarFile]:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    with (
        compressor.stream_writer(out, closefd=False) as stream,
        # GNU's format keeps names beyond 100 characters and no user's locale.
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        yield tar


def _member(path: str, info: PackageInfo, *, size: int = 0, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.size = size
    member.mode = mode
    member.mtime = info.timestamp // 1000
    return member


def _write_content(
    out: IO[bytes], files: Sequence[PackageFile], info: PackageInfo
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    with _tar(out) as tar:
        for file in files:
            data = file.read()
            row: dict[str, object] = {
                "_path": file.path,
                "path_type": "hardlink" if file.link is None else "softlink",
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_in_bytes": len(data),
            }
            if file.link is not None:
                member = _member(file.path, info, mode=0o777)
                member.type = tarfile.SYMTYPE
                member.linkname = file.link
                tar.addfile(member)
            else:
                mode = 0o755 if file.executable else 0o644
                member = _member(file.path, info, size=len(data), mode=mode)
                tar.addfile(member, io.BytesIO(data))
            if file.placeholder is not None:
                row |= {"prefix_placeholder": PLACEHOLDER, "file_mode": file.placeholder}
            rows.append(row)
    return rows


def _write_info(out: IO[bytes], info: PackageInfo, paths: list[dict[str, object]]) -> None:
    index: dict[str, object] = {
        "arch": None,
        "build": info.build,
        "build_number": info.build_number,
        "constrains": list(info.constrains),
        "depends": list(info.depends),
        "license": info.license,
        "name": info.name,
        "platform": None,
        "subdir": info.subdir,
        "timestamp": info.timestamp,
        "version": info.version,
    }
    if info.noarch is not None:
        index["noarch"] = info.noarch
    else:
        platform, _, machine = info.subdir.partition("-")
        index |= {"platform": platform, "arch": "x86_64" if machine == "64" else machine}
    if info.site_packages is not None:
        index["python_site_packages_path"] = info.site_packages
    about = {
        "channels": [],
        "home": info.home,
        "license": info.license,
        "summary": info.summary,
    }
    documents = {
        "info/about.json": _json(about),
        "info/files": "".join(f"{row['_path']}\n" for row in paths).encode(),
        "info/index.json": _json(index),
        "info/paths.json": _json({"paths": paths, "paths_version": 1}),
    }
    if info.noarch == "python":
        noarch = {"type": "python", "entry_points": list(info.entry_points)}
        documents["info/link.json"] = _json({"noarch": noarch, "package_metadata_version": 1})
    with _tar(out) as tar:
        for path, data in sorted(documents.items()):
            tar.addfile(_member(path, info, size=len(data)), io.BytesIO(data))


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
