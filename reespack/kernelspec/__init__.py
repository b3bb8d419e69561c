"""Kernelspecs: those inside an environment, and the one that unpacks an archive on first use.

Inside, `add_kernelspecs` makes every kernel start from wherever the environment lies; what they run
through, `share/reespack/exec`, runs any other command in the environment as well. Outside,
`write_launcher_kernelspec` makes the folder for `jupyter kernelspec install`.
"""

from __future__ import annotations

from reespack.kernelspec.inside import add_kernelspecs
from reespack.kernelspec.launcher import write_launcher_kernelspec
from reespack.kernelspec.self_extracting import write_run_script

__all__ = ["add_kernelspecs", "write_launcher_kernelspec", "write_run_script"]
