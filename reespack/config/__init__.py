"""Every setting in one place, each with where it comes from.

In rising order: the defaults; what .condarc says of channels; the site's reespack.toml; the
user's; `REESPACK_*` variables; flags.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reespack.channels import ANACONDA, ChannelSettings, without_credentials
from reespack.config.condarc import Condarc, load_condarc
from reespack.config.pip_settings import load_package_index
from reespack.config.settings_file import SETTINGS, parse_text, read_settings, unknown_variable
from reespack.cores import available_cores
from reespack.errors import ConfigError
from reespack.store_settings import ORDER
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reespack.package_index import PackageIndex

__all__ = ["Settings", "default_site_file", "default_user_file", "describe", "load_settings"]

FILE = "reespack.toml"
DEFAULT = "default"
USER_FILE_VARIABLE = "REESPACK_CONFIG"
SITE_FILE_VARIABLE = "REESPACK_SITE_CONFIG"
_OTHER_VARIABLES = (USER_FILE_VARIABLE, SITE_FILE_VARIABLE, "REESPACK_TRACEBACK")


class Settings(Value):
    """What reespack does where neither the repository nor the command line says otherwise.

    What `cache` does not have is looked for in `shared_cache`, which nothing is written to.
    `timeout` is in seconds and bounds postBuild; None is no limit. `base_url`, `custom_channels`,
    `default_channels`, `proxies` and `ssl_verify` are .condarc's. `origins` pair a setting
    (`channel_alias.NAME` for a table's) with the file and line, variable or flag it comes from.
    """

    channels: tuple[str, ...]
    channel_alias: tuple[tuple[str, str], ...]
    default_python: str
    cache: Path
    shared_cache: Path | None
    offline: bool
    apt: Literal["error", "warn", "ignore"]
    apt_table: Path | None
    threads: int
    timeout: float | None
    format: Literal["tar.zst", "tar.gz", "squashfs"]
    store: Path | None
    store_order: tuple[str, ...]
    shared_store: Path | None
    store_owners: tuple[str, ...]
    mount: bool
    base_url: str
    custom_channels: tuple[tuple[str, str], ...]
    default_channels: tuple[str, ...]
    proxies: tuple[tuple[str, str], ...]
    ssl_verify: bool | str
    index: PackageIndex
    origins: tuple[tuple[str, str], ...] = ()

    def channel_settings(self) -> ChannelSettings:
        """Return where channels are and how they are reached; reespack's aliases come first."""
        return ChannelSettings(
            base=self.base_url,
            alias=tuple({**dict(self.custom_channels), **dict(self.channel_alias)}.items()),
            default_channels=self.default_channels,
            proxies=self.proxies,
            ssl_verify=self.ssl_verify,
            offline=self.offline,
            cache=self.cache,
        )

    def package_index(self) -> PackageIndex:
        """Return where Python distributions come from."""
        return self.index

    def origin(self, name: str) -> str:
        """Return where a setting comes from."""
        return dict(self.origins).get(name, DEFAULT)


# --- loading -----------------------------------------------------------------------------------


def load_settings(
    *,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    user_file: Path | None = None,
    site_file: Path | None = None,
) -> Settings:
    """Read all settings; `flags` are values by setting name, None for those not given.

    `environ` is this process's by default; the files are those of `default_user_file` and
    `default_site_file`. Raises ConfigError, naming file and line, variable or flag.
    """
    variables = os.environ if environ is None else environ
    condarc = load_condarc(variables)
    layers = [
        _condarc_layer(condarc),
        read_settings(site_file or default_site_file(variables)),
        read_settings(user_file or default_user_file(variables)),
        _variables_layer(variables),
        _flags_layer(flags or {}),
    ]
    values, origins = _merge(layers)
    cache = values.get("cache") or _default_cache()
    offline = bool(values.get("offline", False))
    index, index_origins = load_package_index(variables, cache=cache, offline=offline)
    origins.update({f"index.{name}": origin for name, origin in index_origins})
    verify, verify_origin = _ssl_verify(condarc, variables)
    origins.update(_conda_origins(condarc))
    if verify_origin:
        origins["ssl_verify"] = verify_origin
    if "threads" not in values:
        origins["threads"] = "cores that this process may use"
    return Settings(
        channels=values.get("channels", ("conda-forge",)),
        channel_alias=tuple(values.get("channel_alias", {}).items()),
        default_python=values.get("default_python", "3.12"),
        cache=cache,
        shared_cache=values.get("shared_cache"),
        offline=offline,
        apt=values.get("apt", "error"),
        apt_table=values.get("apt_table"),
        threads=values.get("threads") or available_cores(),
        timeout=values.get("timeout"),
        format=values.get("format", "tar.zst"),
        store=values.get("store"),
        store_order=values.get("store_order", ORDER),
        shared_store=values.get("shared_store"),
        store_owners=values.get("store_owners", ()),
        mount=values.get("mount", True),
        base_url=condarc.channel_alias or ANACONDA,
        custom_channels=tuple(
            (name, f"{base.rstrip('/')}/{name}") for name, base in condarc.custom_channels
        ),
        default_channels=condarc.default_channels or ("pkgs/main", "pkgs/r"),
        proxies=condarc.proxy_servers,
        ssl_verify=verify,
        index=index,
        origins=tuple(origins.items()),
    )


def default_user_file(environ: Mapping[str, str]) -> Path | None:
    """Return the user's reespack.toml if there is one; REESPACK_CONFIG names another."""
    if USER_FILE_VARIABLE in environ:
        return _named_file(environ, USER_FILE_VARIABLE)
    import platformdirs

    file = platformdirs.user_config_path("reespack", appauthor=False) / FILE
    return file if file.is_file() else None


def default_site_file(environ: Mapping[str, str]) -> Path | None:
    """Return the site's reespack.toml if there is one; REESPACK_SITE_CONFIG names another."""
    if SITE_FILE_VARIABLE in environ:
        return _named_file(environ, SITE_FILE_VARIABLE)
    import platformdirs

    folders = (Path("/etc/reespack"), platformdirs.site_config_path("reespack", appauthor=False))
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def _named_file(environ: Mapping[str, str], variable: str) -> Path | None:
    """Return the file that a variable names; an empty one says that there is none."""
    if not environ[variable]:
        return None
    file = Path(environ[variable]).expanduser().absolute()
    if not file.is_file():
        raise ConfigError(f"{variable}: there is no file {file}")
    return file


def _default_cache() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("reespack", appauthor=False)


# --- layers ------------------------------------------------------------------------------------

_Layer = dict[str, tuple[Any, str]]


def _merge(layers: list[_Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay the layers over each other: tables are merged by key, of all else the last one wins."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name, (value, origin) in layer.items():
            if isinstance(value, dict):
                values.setdefault(name, {}).update(value)
                origins.update({f"{name}.{key}": origin for key in value})
            else:
                values[name] = value
            origins[name] = origin
    return values, origins


def _condarc_layer(condarc: Condarc) -> _Layer:
    if not condarc.channels:
        return {}
    return {"channels": (condarc.channels, dict(condarc.origins)["channels"])}


def _variables_layer(environ: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    for variable, text in environ.items():
        if not variable.startswith("REESPACK_") or variable in _OTHER_VARIABLES:
            continue
        name = variable.removeprefix("REESPACK_").lower()
        if name not in SETTINGS:
            unknown_variable(variable, known=_OTHER_VARIABLES)
        elif text:
            layer[name] = (parse_text(name, text, place=variable), variable)
    return layer


def _flags_layer(flags: Mapping[str, object]) -> _Layer:
    layer: _Layer = {}
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value is None or value in ((), []):
            continue
        layer[name] = (parse_text(name, value, place=flag), flag)
    return layer


def _ssl_verify(condarc: Condarc, environ: Mapping[str, str]) -> tuple[bool | str, str | None]:
    if condarc.ssl_verify is not None:
        return condarc.ssl_verify, None
    # conda reads the first by way of requests, and the second by way of OpenSSL.
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if environ.get(variable):
            return environ[variable], variable
    return True, None


def _conda_origins(condarc: Condarc) -> dict[str, str]:
    names = {"channel_alias": "base_url", "proxy_servers": "proxies"}
    found: dict[str, str] = {}
    for key, origin in condarc.origins:
        name, dot, rest = key.partition(".")
        if name != "channels":
            found[f"{names.get(name, name)}{dot}{rest}"] = origin
    return found


# --- showing -----------------------------------------------------------------------------------


def describe(settings: Settings) -> tuple[tuple[str, object, str], ...]:
    """Return (name, value, origin) of every setting, in values that JSON knows, sans secrets."""
    rows: list[tuple[str, object, str]] = []
    for name in (*SETTINGS, "base_url", "custom_channels", "default_channels", "proxies"):
        value = getattr(settings, name)
        if name in {"channel_alias", "custom_channels", "proxies"}:
            rows += [
                (f"{name}.{key}", without_credentials(url), settings.origin(f"{name}.{key}"))
                for key, url in value
            ] or [(name, None, DEFAULT)]
        else:
            rows.append((name, _shown(value), settings.origin(name)))
    rows.append(("ssl_verify", settings.ssl_verify, settings.origin("ssl_verify")))
    index = settings.index
    for name, value in (
        ("index-url", index.index_url),
        ("extra-index-url", index.extra_index_urls),
        ("find-links", index.find_links),
        ("no-index", index.no_index),
        ("cert", index.cert),
        ("proxy", index.proxy),
        ("trusted-host", index.trusted_hosts),
    ):
        rows.append((f"index.{name}", _shown(value), settings.origin(f"index.{name}")))
    return tuple(rows)


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return [_shown(one) for one in value] or None
    if isinstance(value, str):
        return without_credentials(value)
    return str(value) if isinstance(value, Path) else value
