"""Which URL a channel's name means, and how it is reached.

The names are conda's: a name below the base (`conda-forge`), a name with a label
(`conda-forge/label/dev`), `defaults`, a full URL, or a folder. Sites redirect names with aliases.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from reespack.errors import ChannelError, ConfigError
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rattler import Gateway
    from rattler.networking import Client

__all__ = [
    "ANACONDA",
    "ChannelSettings",
    "channel_url",
    "client",
    "display_name",
    "expand_channels",
    "gateway",
    "without_credentials",
]

ANACONDA = "https://conda.anaconda.org"
_ANACONDA_MAIN = "https://repo.anaconda.com"
DEFAULTS = "defaults"
NODEFAULTS = "nodefaults"

# conda's own table of channels that do not lie below the base.
_BUILT_IN_ALIASES = tuple(
    (f"pkgs/{name}", f"{_ANACONDA_MAIN}/pkgs/{name}") for name in ("main", "r")
)
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")
_SUBDIR = re.compile(r"/(noarch|(linux|osx|win|freebsd|emscripten|wasi|zos)-[a-z0-9_]+)$")
_TOKEN = re.compile(r"/t/[^/]+(?=/)")


class ChannelSettings(Value):
    """Where channels are and how they are reached.

    `base` is what a plain name is appended to. `alias` pairs a channel's name with the URL or the
    folder that stands for it. `default_channels` are what `defaults` means. `proxies` pair a URL
    scheme with a proxy's URL. `ssl_verify` is as conda's: False, True, a file of certificates or
    "truststore". `cache` is reespack's cache folder; repodata is kept below it.
    """

    base: str = ANACONDA
    alias: tuple[tuple[str, str], ...] = ()
    default_channels: tuple[str, ...] = ("pkgs/main", "pkgs/r")
    proxies: tuple[tuple[str, str], ...] = ()
    ssl_verify: bool | str = True
    offline: bool = False
    cache: Path

    def resolved(self, name: str) -> tuple[str, ...]:
        """Return the URLs that a channel's name means; one, unless it is `defaults`."""
        return tuple(url for _, url in expand_channels((name,), self))


# --- from names to URLs ------------------------------------------------------------------------


def expand_channels(names: Iterable[str], settings: ChannelSettings) -> tuple[tuple[str, str], ...]:
    """Return (name, URL) for each channel, in order, each URL once.

    `defaults` becomes several, `nodefaults` none. Raises ChannelError as `channel_url` does.
    """
    found: dict[str, str] = {}
    for name in names:
        if name == NODEFAULTS:
            continue
        several = name == DEFAULTS and DEFAULTS not in dict(settings.alias)
        for one in settings.default_channels if several else (name,):
            found.setdefault(channel_url(one, settings), one)
    return tuple((name, url) for url, name in found.items())


def channel_url(name: str, settings: ChannelSettings) -> str:
    """Return the URL of a channel, without a slash at its end.

    Raises ChannelError, naming the channel and `--channel-alias`, when it is a folder on this
    machine that is not a channel; whether a remote one exists shows when it is asked.
    """
    plain = name.strip().rstrip("/")
    if not plain:
        raise ChannelError("a channel's name is empty")
    aliased = _aliased(plain, settings)
    if aliased is not None:
        return _located(aliased, name)
    if _is_path(plain) or _SCHEME.match(plain):
        return _located(_SUBDIR.sub("", plain), name)
    return _located(f"{settings.base.rstrip('/')}/{quote(plain, safe='/:@+~')}", name)


def display_name(url: str, settings: ChannelSettings) -> str:
    """Return the shortest name that means `url` (a channel's, or a file's in it), sans secrets."""
    plain = _SUBDIR.sub("", url.rstrip("/"))
    for name, value in (*settings.alias, *_BUILT_IN_ALIASES):
        root = _as_url(value).rstrip("/")
        if plain == root or plain.startswith(f"{root}/label/"):
            return name + plain[len(root) :]
    base = _as_url(settings.base).rstrip("/")
    if plain.startswith(f"{base}/"):
        return unquote(plain[len(base) + 1 :])
    return without_credentials(plain)


def without_credentials(url: str) -> str:
    """Return `url` without a user, password or conda token, for messages and records."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, path=_TOKEN.sub("", parts.path)))


def _aliased(name: str, settings: ChannelSettings) -> str | None:
    """Return what an alias makes of `name` or of the name before its `/label/`."""
    known = {**dict(_BUILT_IN_ALIASES), **dict(settings.alias)}
    if name in known:
        return known[name]
    channel, label, rest = name.partition("/label/")
    return f"{known[channel].rstrip('/')}{label}{rest}" if channel in known else None


def _is_path(value: str) -> bool:
    return value.startswith(("/", "./", "../", "~")) or value in {".", ".."}


def _as_url(value: str) -> str:
    if _SCHEME.match(value):
        return value
    return Path(os.path.abspath(Path(value).expanduser())).as_uri()  # noqa: PTH100 - keeps links


def _located(value: str, name: str) -> str:
    url = _as_url(value).rstrip("/")
    if url.startswith("file:"):
        _check_folder(Path(unquote(urlsplit(url).path)), name)
    return url


def _check_folder(folder: Path, name: str) -> None:
    plain = without_credentials(name)
    known_by = "" if str(folder) in plain else f" ({folder})"
    hint = f"say where it is: --channel-alias {plain}=URL-OR-FOLDER"
    if _is_path(plain) or plain.startswith("file:"):
        hint = "check the path, or give a name a place: --channel-alias NAME=URL-OR-FOLDER"
    if not folder.is_dir():
        raise ChannelError(f"channel {plain}{known_by}: there is no such folder", hint=hint)
    if not any(any(folder.glob(f"*/repodata.json{suffix}")) for suffix in ("", ".zst")):
        raise ChannelError(
            f"channel {plain}{known_by}: the folder is not a conda channel (no repodata.json)",
            hint=f"make one with `reespack channel create`, or {hint}",
        )


# --- how they are reached ----------------------------------------------------------------------


def client(settings: ChannelSettings) -> Client:
    """Return the client that all requests to channels go through.

    It honours rattler's credentials (RATTLER_AUTH_FILE, ~/.rattler/credentials.json, the keyring,
    .netrc), the mirrors and S3 options of rattler's shared config.toml, and the settings' proxies
    and certificates. Raises ConfigError when rattler's own file cannot be read.
    """
    from rattler.config import Config
    from rattler.networking import Client

    from reespack.version import VERSION

    shared = [
        (path, True)
        for path, is_shared in Config.config_search_paths("rattler")
        if is_shared and path.is_file()
    ]
    try:
        config = Config.load_from_locations(list(shared)).merge(Config.from_toml(_toml(settings)))
    except Exception as error:  # rattler raises its own classes, and ValueError
        files = ", ".join(str(path) for path, _ in shared)
        raise ConfigError(
            f"the settings for channels are not valid: {str(error).splitlines()[0]}",
            hint=f"look at rattler's {files}" if files else "look at proxy_servers in .condarc",
        ) from error
    with _certificates(settings.ssl_verify):
        return Client.from_config(config, user_agent=f"reespack/{VERSION}")


@contextlib.contextmanager
def _certificates(ssl_verify: bool | str) -> Iterator[None]:
    """Have rattler's TLS read a file of certificates: a variable is the only way to name it.

    It is read when the client is made, and is uv's to know otherwise.
    """
    if not isinstance(ssl_verify, str) or ssl_verify == "truststore":
        yield
        return
    if not Path(ssl_verify).exists():
        raise ConfigError(
            f"there is no file of certificates {ssl_verify}",
            hint="look at ssl_verify in .condarc, or at REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
        )
    variable = "SSL_CERT_DIR" if Path(ssl_verify).is_dir() else "SSL_CERT_FILE"
    before = os.environ.get(variable)
    os.environ[variable] = ssl_verify
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def gateway(settings: ChannelSettings) -> Gateway:
    """Return what answers questions about repodata, keeping it below the cache.

    Offline, only what is kept there counts, however old; channels on this machine are read all
    the same. Raises ConfigError as `client` does.
    """
    from rattler import Gateway, SourceConfig

    from reespack.store import Cache

    return Gateway(
        cache_dir=Cache(settings.cache).repodata,
        default_config=SourceConfig(
            cache_action="force-cache-only" if settings.offline else "cache-or-fetch"
        ),
        client=client(settings),
    )


def _toml(settings: ChannelSettings) -> str:
    """Return the settings in the words of rattler's config.toml."""
    import json

    lines: list[str] = []
    if settings.ssl_verify is False:
        lines.append("tls-no-verify = true")
    elif isinstance(settings.ssl_verify, str):
        lines.append('tls-root-certs = "system"')
    schemes = dict(settings.proxies)
    everything = schemes.get("all")
    found = {scheme: schemes.get(scheme, everything) for scheme in ("http", "https")}
    if any(found.values()):
        lines.append("[proxy-config]")
        # A JSON string is a TOML string, too.
        lines += [f"{scheme} = {json.dumps(url)}" for scheme, url in found.items() if url]
    return "\n".join(lines)
