"""Binder for machines where the batch queue is the only orchestrator.

    from reespack import BuildOptions, Request, build

    result = build(Request(source="."), options=BuildOptions(output=Path("dist")))
    print(result.archive)

Names are imported when they are first used, so that `import reespack` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.lazy import on_first_use
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

__version__ = VERSION
__getattr__ = on_first_use(
    __name__,
    {
        "channel": ("create_channel",),
        "config": ("Settings", "load_settings"),
        "errors": ("ReespackError",),
        "model": ("Detection", "EnvironmentSpec", "Repository"),
        "pipeline": (
            "BuildOptions",
            "BuildResult",
            "Request",
            "build",
            "detect",
            "lock",
            "specify",
        ),
        "products": ("Lock",),
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
