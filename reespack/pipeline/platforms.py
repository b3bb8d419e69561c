"""Conda's platforms: this machine's, and those that a lock can be solved for."""

from __future__ import annotations

import difflib
import platform as host

from reespack.errors import UsageError

__all__ = ["host_platform", "known_platform"]

PLATFORMS = (
    *("linux-64", "linux-aarch64", "linux-ppc64le", "linux-s390x", "linux-riscv64", "linux-32"),
    *("osx-64", "osx-arm64", "win-64", "win-arm64", "win-32"),
)
"""The platforms that conda-forge and its kin have, or had, packages for."""


def host_platform() -> str:
    """Return the conda platform of this machine; UsageError when none is built natively."""
    machine = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}.get(host.machine())
    if host.system() != "Linux" or machine is None:
        raise UsageError(
            f"environments cannot be built on {host.system()} {host.machine()}",
            hint="reespack builds on Linux, x86_64 and aarch64; locks can be solved for any",
        )
    return machine


def known_platform(platform: str) -> str:
    """Return `platform`; raise UsageError, with a near miss, when there is none of that name."""
    if platform in PLATFORMS:
        return platform
    near = difflib.get_close_matches(platform, PLATFORMS, n=1)
    raise UsageError(
        f"there is no platform {platform!r}",
        hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(PLATFORMS)}",
    )
