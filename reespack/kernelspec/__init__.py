"""Kernelspecs: those inside an environment, and the one that unpacks an archive on first use.

Inside, `add_kernelspecs` makes every kernel start from wherever the environment lies; what they run
through, `share/reespack/exec`, runs any other command in the environment as well. Outside,
`write_launcher_kernelspec` makes the folder for `jupyter kernelspec install`.

Names are imported when they are first used: a build that is in the cache needs one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reespack.lazy import on_first_use

if TYPE_CHECKING:
    from reespack.kernelspec.inside import add_kernelspecs
    from reespack.kernelspec.launcher import write_launcher_kernelspec
    from reespack.kernelspec.self_extracting import write_run_script

__all__ = ["add_kernelspecs", "write_launcher_kernelspec", "write_run_script"]

__getattr__ = on_first_use(
    __name__,
    {
        "inside": ("add_kernelspecs",),
        "launcher": ("write_launcher_kernelspec",),
        "self_extracting": ("write_run_script",),
    },
)
