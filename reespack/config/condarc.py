"""What a user's or a site's .condarc says of channels, read where conda reads it.

The places and their order are conda's (conda.base.constants.SEARCH_PATH): of scalars the last file
wins, tables are merged by key, and lists of later files come in front of those of earlier ones.
Keys that have no bearing on channels are conda's business and are passed over.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.errors import ConfigError
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Condarc", "condarc_files", "load_condarc"]

_LISTS = ("channels", "default_channels")
_TABLES = ("custom_channels", "proxy_servers")
_SCALARS = ("channel_alias", "ssl_verify")
_OTHER_NAMES = {"verify_ssl": "ssl_verify", "channel": "channels"}
_VARIABLE = r"\$(?:(\w+)|\{(\w+)\})"


class Condarc(Value):
    """The merged settings; None and empty stand for what no file says.

    `origins` pair a key (`custom_channels.NAME` for a table's) with the file it comes from.
    """

    channels: tuple[str, ...] = ()
    default_channels: tuple[str, ...] = ()
    custom_channels: tuple[tuple[str, str], ...] = ()
    proxy_servers: tuple[tuple[str, str], ...] = ()
    channel_alias: str | None = None
    ssl_verify: bool | str | None = None
    origins: tuple[tuple[str, str], ...] = ()


def condarc_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that exist, lowest precedence first."""
    home = Path(environ.get("HOME") or Path.home())
    folders = [Path("/etc/conda"), Path("/var/lib/conda")]
    folders += [root] if (root := _conda_root(environ)) else []
    if environ.get("XDG_CONFIG_HOME"):
        folders.append(Path(environ["XDG_CONFIG_HOME"], "conda"))
    folders += [home / ".config" / "conda", home / ".conda"]
    candidates = [file for folder in folders for file in _files_in(folder)]
    candidates.append(home / ".condarc")
    if environ.get("CONDA_PREFIX"):
        candidates += _files_in(Path(environ["CONDA_PREFIX"]))
    if environ.get("CONDARC"):
        candidates.append(Path(environ["CONDARC"]).expanduser())
    # A file that is named twice counts where it comes last.
    unique = reversed(dict.fromkeys(reversed(candidates)))
    yield from (file for file in unique if file.is_file())


def load_condarc(environ: Mapping[str, str]) -> Condarc:
    """Read all files, and conda's variables (`CONDA_CHANNELS`, `CONDA_SSL_VERIFY`, ...).

    Raises ConfigError, naming file and key, for what cannot be right.
    """
    layers = [(str(file), _read(file)) for file in condarc_files(environ)]
    layers += [(f"CONDA_{key.upper()}", {key: value}) for key, value in _from_variables(environ)]
    values: dict[str, object] = {}
    tables: dict[str, dict[str, str]] = {}
    lists: dict[str, tuple[str, ...]] = {}
    origins: dict[str, str] = {}
    for place, layer in layers:
        for written, raw in layer.items():
            key = _OTHER_NAMES.get(written, written)
            if raw is None or key not in (*_LISTS, *_TABLES, *_SCALARS):
                continue
            origins[key] = place
            if key in _LISTS:
                found = _strings(raw, key, place, environ)
                lists[key] = tuple(dict.fromkeys((*found, *lists.get(key, ()))))
            elif key in _TABLES:
                table = _table(raw, key, place, environ)
                tables.setdefault(key, {}).update(table)
                origins.update({f"{key}.{name}": place for name in table})
            else:
                values[key] = _scalar(raw, key, place, environ)
    alias, verify = values.get("channel_alias"), values.get("ssl_verify")
    return Condarc(
        channels=lists.get("channels", ()),
        default_channels=lists.get("default_channels", ()),
        custom_channels=tuple(tables.get("custom_channels", {}).items()),
        proxy_servers=tuple(tables.get("proxy_servers", {}).items()),
        channel_alias=alias if isinstance(alias, str) else None,
        ssl_verify=verify if isinstance(verify, (bool, str)) else None,
        origins=tuple(origins.items()),
    )


# --- places ------------------------------------------------------------------------------------


def _files_in(folder: Path) -> list[Path]:
    below = folder / "condarc.d"
    return [
        folder / ".condarc",
        folder / "condarc",
        *sorted([*below.glob("*.yml"), *below.glob("*.yaml")]),
    ]


def _conda_root(environ: Mapping[str, str]) -> Path | None:
    """Return the folder that conda itself is installed in, as far as it can be known."""
    if environ.get("CONDA_ROOT"):
        return Path(environ["CONDA_ROOT"])
    if environ.get("CONDA_EXE"):
        return Path(environ["CONDA_EXE"]).parent.parent
    return Path(sys.prefix) if Path(sys.prefix, "conda-meta").is_dir() else None


def _from_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for key in (*_SCALARS, *_LISTS):
        text = environ.get(f"CONDA_{key.upper()}")
        if text:
            yield (
                key,
                [part for part in re.split(r"[,&\s]+", text) if part] if (key in _LISTS) else text,
            )


# --- content -----------------------------------------------------------------------------------


def _read(file: Path) -> dict[str, object]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise ConfigError(
            f"{file}{line}: is not valid YAML: {error.problem}", hint="conda cannot read it either"
        ) from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must be a table of settings, not {_kind(content)}")
    return {str(key): value for key, value in content.items()}


def _strings(raw: object, key: str, place: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    values = [raw] if isinstance(raw, str) else raw
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConfigError(f"{place}: {key} must be a list of strings")
    return tuple(_expanded(value, environ) for value in values)


def _table(raw: object, key: str, place: str, environ: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{place}: {key} must be a table of strings")
    for name, value in raw.items():
        if not isinstance(name, str) or not isinstance(value, (str, type(None))):
            raise ConfigError(f"{place}: {key}.{name} must be a string, not {_kind(value)}")
    return {name: _expanded(value, environ) for name, value in raw.items() if value}


def _scalar(raw: object, key: str, place: str, environ: Mapping[str, str]) -> bool | str:
    if key == "ssl_verify" and isinstance(raw, bool):
        return raw
    if not isinstance(raw, str):
        wanted = "true, false or a file" if key == "ssl_verify" else "a URL"
        raise ConfigError(f"{place}: {key} must be {wanted}, not {_kind(raw)}")
    text = _expanded(raw, environ)
    if key != "ssl_verify":
        return text
    truths = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return truths.get(text.lower(), text if text == "truststore" else os.path.expanduser(text))  # noqa: PTH111 - a string


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """Put variables in, as conda does; an unknown one stays as it is written."""
    return re.sub(_VARIABLE, lambda match: environ.get(match[1] or match[2], match[0]), text)


def _kind(value: object) -> str:
    names = {dict: "a table", list: "a list", str: "a string", bool: "a truth value"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else "nothing")
