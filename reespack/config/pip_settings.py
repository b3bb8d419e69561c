"""The package index that pip's files and variables name, for uv, which reads neither.

The files, their order and their sections are pip's (pip._internal.configuration): every file's
`[global]`, then every file's `[install]`, then `PIP_*` variables. uv's own variables win over all.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import ConfigError
from reespack.package_index import PackageIndex

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load_package_index", "pip_files"]

_TRUE = ("y", "yes", "t", "true", "on", "1")
_FALSE = ("n", "no", "f", "false", "off", "0")
_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "cert", "proxy", "trusted-host")
_SPELLINGS = {"i": "index-url", "pypi-url": "index-url", "f": "find-links"}

# What uv calls the same thing, newest name first.
_UV = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "no-index": ("UV_NO_INDEX",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
}


def pip_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return pip's files that exist, lowest precedence first; none when pip is told to read none.

    That is, when PIP_CONFIG_FILE is the null device, as pip documents it.
    """
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return ()
    home = Path(environ.get("HOME") or Path.home())
    site = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        *(Path(folder, "pip", "pip.conf") for folder in reversed(site) if folder),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        user / "pip" / "pip.conf",
        Path(environ.get("VIRTUAL_ENV") or sys.prefix, "pip.conf"),
        *([Path(named).expanduser()] if named else []),
    ]
    # A file that is named twice counts where it comes last.
    unique = reversed(dict.fromkeys(reversed(files)))
    return tuple(file for file in unique if file.is_file())


def load_package_index(
    environ: Mapping[str, str], *, cache: Path, offline: bool
) -> tuple[PackageIndex, tuple[tuple[str, str], ...]]:
    """Return the index, and where each of its settings (pip's name) comes from.

    Raises ConfigError for a file of pip's that cannot be read and for a `no-index` that is neither
    true nor false.
    """
    said, origins = _from_files(pip_files(environ))
    for key in _KEYS:
        variable = f"PIP_{key.upper().replace('-', '_')}"
        if environ.get(variable):
            said[key], origins[key] = environ[variable], variable
    if "cert" not in said and environ.get("REQUESTS_CA_BUNDLE"):
        said["cert"], origins["cert"] = environ["REQUESTS_CA_BUNDLE"], "REQUESTS_CA_BUNDLE"
    for key, names in _UV.items():
        for variable in names:
            if environ.get(variable):
                said[key], origins[key] = environ[variable], variable
                break
    return (
        PackageIndex(
            index_url=said.get("index-url"),
            extra_index_urls=tuple(said.get("extra-index-url", "").split()),
            find_links=tuple(said.get("find-links", "").replace(",", " ").split()),
            no_index=_truth(said.get("no-index", "0"), origins.get("no-index", "")),
            cert=said.get("cert"),
            proxy=said.get("proxy"),
            trusted_hosts=tuple(said.get("trusted-host", "").split()),
            cache=Path(environ.get("UV_CACHE_DIR") or cache / "uv"),
            offline=offline,
        ),
        tuple(origins.items()),
    )


def _from_files(files: tuple[Path, ...]) -> tuple[dict[str, str], dict[str, str]]:
    parsed = [(file, _read(file)) for file in files]
    said: dict[str, str] = {}
    origins: dict[str, str] = {}
    for section in ("global", "install"):
        for file, parser in parsed:
            if not parser.has_section(section):
                continue
            for written, value in parser.items(section):
                name = written.replace("_", "-").lstrip("-")
                key = _SPELLINGS.get(name, name)
                if key in _KEYS and value:
                    said[key], origins[key] = value, str(file)
    return said, origins


def _read(file: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        message = " ".join(str(error).split())
        raise ConfigError(
            f"{file}: cannot be read: {message}", hint="pip cannot read it either"
        ) from error
    return parser


def _truth(text: str, place: str) -> bool:
    if text.strip().lower() in _TRUE:
        return True
    if text.strip().lower() in _FALSE:
        return False
    raise ConfigError(f"{place}: no-index must be true or false, not {text!r}")
