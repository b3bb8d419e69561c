"""The package index that Python distributions come from, told to uv.

uv reads `UV_*` variables and `uv.toml`, but neither `PIP_*` nor pip.conf; `PackageIndex` carries
those over, so that a site's mirror counts once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["PackageIndex"]


class PackageIndex(Value):
    """Where Python distributions come from.

    The fields stand for pip's settings of the same names; a `UV_*` variable that says the same
    thing wins. `cache` is uv's cache folder, None for uv's own default.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    cache: Path | None = None
    offline: bool = False

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that make uv follow these settings, over those of `environ`."""
        wanted = {
            "UV_DEFAULT_INDEX": self.index_url,
            "UV_INDEX": " ".join(self.extra_index_urls),
            "UV_FIND_LINKS": ",".join(self.find_links),
            "SSL_CERT_FILE": self.cert,
            "ALL_PROXY": self.proxy,
            "UV_INSECURE_HOST": " ".join(self.trusted_hosts),
        }
        older_names = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
        said = {
            name: value
            for name, value in wanted.items()
            if value and name not in environ and older_names.get(name, name) not in environ
        }
        merged = {**environ, **said}
        if "UV_INDEX" in said:
            # pip, whose setting this is, takes the best version that any of the indexes has.
            merged.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
        if self.cache is not None:
            merged["UV_CACHE_DIR"] = str(self.cache)
        if self.offline:
            merged["UV_OFFLINE"] = "1"
        # An interpreter is never downloaded: the environment brings its own.
        merged["UV_PYTHON_DOWNLOADS"] = "never"
        merged["UV_NO_PROGRESS"] = "1"
        merged.pop("VIRTUAL_ENV", None)
        merged.pop("CONDA_PREFIX", None)
        return merged
