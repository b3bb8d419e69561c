"""The settings that reespack.toml, `REESPACK_*` variables and flags share, and how each is read."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reespack.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["SETTINGS", "Setting", "parse_text", "read_settings", "unknown_variable"]


class Setting(NamedTuple):
    """How one setting is read: `expected` in words; `parse` raises ValueError for anything else.

    `parse` takes TOML's value and the folder that relative paths start from. `from_text` makes of
    a variable's or a flag's text what TOML would have.
    """

    expected: str
    parse: Callable[[object, Path], object]
    from_text: Callable[[str], object] = str


def read_settings(file: Path | None) -> dict[str, tuple[Any, str]]:
    """Return name -> (value, `file:line`) for all that a reespack.toml sets.

    Raises ConfigError with file and line for broken TOML, an unknown key (and the nearest known
    one) and a value of the wrong kind.
    """
    if file is None:
        return {}
    from reespack import toml  # most sites have no such file

    folder = file.absolute().parent
    try:
        text = file.read_text(encoding="utf-8-sig")
        content = toml.loads(text)
    except toml.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        problem = str(error).partition(" (at ")[0]
        place = f"{file}:{found[1]}" if found else str(file)
        raise ConfigError(f"{place}: is not valid TOML: {problem}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    layer: dict[str, tuple[Any, str]] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        place = f"{file}:{_line_of(key, text)}"
        if name not in SETTINGS:
            raise ConfigError(
                f"{place}: there is no setting {key!r}", hint=_nearest(name, SETTINGS)
            )
        layer[name] = (_parsed(name, value, place=f"{place}: {key}", folder=folder), place)
    return layer


def parse_text(name: str, value: object, *, place: str) -> object:
    """Return a setting's value from a variable's text, or from a flag's text or typed value.

    Relative paths start from the working folder. Raises ConfigError that begins with `place`.
    """
    setting = SETTINGS[name]
    try:
        if isinstance(value, str):
            typed = setting.from_text(value)
        elif name == "channel_alias" and isinstance(value, (list, tuple)):
            typed = _pairs(value)
        else:
            typed = list(value) if isinstance(value, tuple) else value
    except ValueError as error:
        raise _wrong(setting, value, place, error) from None
    return _parsed(name, typed, place=place, folder=Path.cwd())


def unknown_variable(variable: str, *, known: Iterable[str]) -> None:
    """Raise ConfigError when `variable` looks like a slip for one that is known.

    Any other may well be somebody else's.
    """
    names = [*(f"REESPACK_{name.upper()}" for name in SETTINGS), *known]
    near = difflib.get_close_matches(variable, names, n=1, cutoff=0.85)
    if near:
        raise ConfigError(f"there is no variable {variable}", hint=f"did you mean {near[0]}?")


def _parsed(name: str, value: object, *, place: str, folder: Path) -> object:
    setting = SETTINGS[name]
    try:
        return setting.parse(value, folder)
    except ValueError as error:
        raise _wrong(setting, value, place, error) from None


def _wrong(setting: Setting, value: object, place: str, error: ValueError) -> ConfigError:
    shown = repr(value) if not isinstance(value, bool) else str(value).lower()
    return ConfigError(f"{place} must be {setting.expected}, not {shown}", hint=str(error) or None)


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(names)}"


def _line_of(key: str, text: str) -> int:
    """Return the line, from 1, where a top-level key or the header of its table stands."""
    name = rf"[\"']?{re.escape(key)}[\"']?"
    pattern = re.compile(rf"^\s*(?:\[\s*{name}\s*[\].]|{name}\s*[=.])")
    lines = enumerate(text.splitlines(), start=1)
    return next((number for number, line in lines if pattern.match(line)), 1)


# --- kinds of values ---------------------------------------------------------------------------


def _strings(value: object, _: Path) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        raise ValueError
    if not all(isinstance(one, str) and one for one in values):
        raise ValueError
    return tuple(values)


def _places(value: object, folder: Path) -> tuple[str, ...]:
    names = _strings(value, folder)
    if not all(name == "tmp" or re.fullmatch("[A-Z_][A-Z0-9_]*", name) for name in names):
        raise ValueError('for example ["SLURM_TMPDIR", "tmp", "XDG_CACHE_HOME"]')
    return names


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def _aliases(value: object, folder: Path) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - the caller takes one class of error
    for name, target in value.items():
        if not name or not isinstance(target, str) or not target:
            raise ValueError
    return {str(name): _place(str(target), folder) for name, target in value.items()}


def _place(target: str, folder: Path) -> str:
    """Return a URL as it is, and a folder's path in full."""
    if re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]*:", target):
        return target
    return os.path.normpath(folder / Path(target).expanduser())


def _pairs(words: Iterable[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if not all(name and target for name, _, target in pairs):
        raise ValueError("for example conda-forge=file:///srv/mirror/conda-forge")
    return {name: target for name, _, target in pairs}


def _path(value: object, folder: Path) -> Path:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise ValueError
    return Path(os.path.normpath(folder / Path(value).expanduser()))


def _truth(value: object, _: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - the caller takes one class of error
    return value


def _truth_from_text(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError
    return known[text.lower()]


def _python(value: object, _: Path) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"3\.\d+(\.\d+)?", value):
        raise ValueError('a string: default_python = "3.12"' if isinstance(value, float) else "")
    return value


def _whole(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d*)?", text.strip()):
        raise ValueError
    return float(text)


def _count(value: object, _: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _seconds(value: object, _: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError
    return float(value)


def _one_of(*choices: str) -> Setting:
    def parse(value: object, _: Path) -> str:
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            raise ValueError(f"did you mean {near[0]!r}?" if near else "")
        return str(value)

    return Setting(expected=f"{', '.join(choices[:-1])} or {choices[-1]}", parse=parse)


SETTINGS: dict[str, Setting] = {
    "channels": Setting(expected="a list of channels", parse=_strings, from_text=_words),
    "channel_alias": Setting(
        expected="a table of NAME = URL-OR-FOLDER (NAME=URL-OR-FOLDER as a flag)",
        parse=_aliases,
        from_text=lambda text: _pairs(_words(text)),
    ),
    "default_python": Setting(expected='a version such as "3.12"', parse=_python),
    "cache": Setting(expected="a folder", parse=_path),
    "shared_cache": Setting(expected="a folder", parse=_path),
    "offline": Setting(expected="true or false", parse=_truth, from_text=_truth_from_text),
    "apt": _one_of("error", "warn", "ignore"),
    "apt_table": Setting(expected="a file", parse=_path),
    "threads": Setting(expected="a whole number of at least 1", parse=_count, from_text=_whole),
    "timeout": Setting(expected="a number of seconds above 0", parse=_seconds, from_text=_number),
    "format": _one_of("tar.zst", "tar.gz", "squashfs"),
    "store": Setting(expected="a folder", parse=_path),
    "store_order": Setting(
        expected="a list of variables that name folders, and tmp", parse=_places, from_text=_words
    ),
    "shared_store": Setting(expected="a folder", parse=_path),
    "store_owners": Setting(expected="a list of accounts", parse=_strings, from_text=_words),
    "mount": Setting(expected="true or false", parse=_truth, from_text=_truth_from_text),
}
"""All settings by name, in the order in which they are shown."""
