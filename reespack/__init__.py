"""Binder for machines where the batch queue is the only orchestrator.

    from reespack import BuildOptions, Request, build

    result = build(Request(source="."), options=BuildOptions(output=Path("dist")))
    print(result.archive)

Names are imported when they are first used, so that `import reespack` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from reespack.version import VERSION

if TYPE_CHECKING:
    from reespack.channel import create_channel
    from reespack.config import Settings, load_settings
    from reespack.errors import ReespackError
    from reespack.model import Detection, EnvironmentSpec, Repository
    from reespack.pipeline import BuildOptions, BuildResult, Request, build, detect, lock, specify
    from reespack.products import Lock

__all__ = [
    "BuildOptions",
    "BuildResult",
    "Detection",
    "EnvironmentSpec",
    "Lock",
    "ReespackError",
    "Repository",
    "Request",
    "Settings",
    "__version__",
    "build",
    "create_channel",
    "detect",
    "load_settings",
    "lock",
    "specify",
]

_HOMES = {
    "reespack.channel": ("create_channel",),
    "reespack.config": ("Settings", "load_settings"),
    "reespack.errors": ("ReespackError",),
    "reespack.model": ("Detection", "EnvironmentSpec", "Repository"),
    "reespack.products": ("Lock",),
    "reespack.pipeline": (
        "BuildOptions",
        "BuildResult",
        "Request",
        "build",
        "detect",
        "lock",
        "specify",
    ),
}
__version__ = VERSION
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
