"""The scripts that every archive brings: activate, deactivate and conda-unpack."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from reespack.archive import conda_unpack
from reespack.errors import PackError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["scripts"]

_HEAD = b"""\
#!/bin/sh
""\":"
# To a shell this is a few lines that find the environment's own Python, with no help from PATH;
# to Python it is a string.
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
if [ ! -x "$here/python3" ] && [ -h "$0" ]; then
    self=$(readlink -f "$0") && here=${self%/*}
fi
if [ -x "$here/python3" ]; then python=$here/python3; else python=python3; fi
exec "$python" -ISB "$0" "$@"
":""\"
"""

_UNSET_IS_NO_ERROR = (
    # conda-pack's scripts end a shell that runs with `set -u`.
    ('"$CONDA_PREFIX"', '"${CONDA_PREFIX-}"'),
    ('"$PS1"', '"${PS1-}"'),
    (' $PS1"', ' ${PS1-}"'),
    ('"$_CONDA_PACK_OLD_PS1"', '"${_CONDA_PACK_OLD_PS1-}"'),
)


_BEFORE_SCRIPTS = "    # Run the activate scripts\n"
_AFTER_SCRIPTS = "        # Remove env/bin from path\n"


def scripts(variables: Mapping[str, str]) -> Mapping[str, bytes]:
    """Return the scripts by their path in the environment.

    activate and deactivate are conda-pack's own, with two changes: they bear `set -u`, and they
    set and unset the environment's `variables`, as conda does, before and after its scripts.
    """
    spec = importlib.util.find_spec("conda_pack")  # without importing it: that takes 60 ms
    if spec is None or not spec.submodule_search_locations:
        raise PackError("conda-pack is not installed", hint="install reespack's dependencies anew")
    folder = Path(spec.submodule_search_locations[0], "scripts", "posix")
    found = {"bin/conda-unpack": _conda_unpack()}
    for name in ("activate", "deactivate"):
        text = (folder / name).read_text(encoding="utf-8")
        for plain, careful in _UNSET_IS_NO_ERROR:
            text = text.replace(plain, careful)
        found[f"bin/{name}"] = _with_variables(text, variables, fish=False)
    text = (folder / "activate.fish").read_text(encoding="utf-8")
    found["bin/activate.fish"] = _with_variables(text, variables, fish=True)
    return found


def _with_variables(text: str, variables: Mapping[str, str], *, fish: bool) -> bytes:
    """Add to a script what sets the variables, or unsets them."""
    sets, unsets = [], []
    for name, value in sorted(variables.items()):
        if fish:
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            sets.append(f"    set -gx {name} '{quoted}'\n")
        else:
            sets.append(f"    export {name}={shlex.quote(value)}\n")
            unsets.append(f"        unset {name}\n")
    text = text.replace(_BEFORE_SCRIPTS, "".join(sets) + _BEFORE_SCRIPTS)
    text = text.replace(_AFTER_SCRIPTS, "".join(unsets) + _AFTER_SCRIPTS)
    return text.encode("utf-8", "surrogateescape")


def _conda_unpack() -> bytes:
    """Return the module as a script: its first string becomes a comment, the shell's the first."""
    source = Path(conda_unpack.__file__).read_bytes()
    _, about, code = source.split(b'"""', 2)
    comment = b"".join(
        b"# ".rstrip(b" " * (not line)) + line + b"\n" for line in about.split(b"\n")
    )
    return _HEAD + comment + code.lstrip(b"\n")
