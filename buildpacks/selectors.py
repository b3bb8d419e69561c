"""Platform selectors: the `# [linux and not aarch64]` at the end of a line.

conda-build's notation, which conda-lock reads in environment.yml as well; conda itself takes it
for a comment.
"""

from __future__ import annotations

import ast
import re

__all__ = ["applies"]

_SELECTOR = re.compile(r"#\s*\[([^\[\]]+)\]\s*$")
_SYSTEMS = ("linux", "osx", "win")


def _facts(platform: str) -> dict[str, bool]:
    """Return what each selector name means on a conda platform such as `linux-64`."""
    system, _, machine = platform.partition("-")
    facts = {name: name == system for name in _SYSTEMS}
    facts["unix"] = system in {"linux", "osx"}
    for name in _SYSTEMS:
        for bits in ("64", "32"):
            facts[name + bits] = name == system and machine == bits
    facts["x86_64"] = machine == "64"
    facts["x86"] = machine in {"64", "32"}
    for name in ("aarch64", "arm64", "ppc64le", "s390x"):
        facts[name] = machine == name
    for system_name, machine_name in (
        ("linux", "aarch64"),
        ("linux", "ppc64le"),
        ("linux", "s390x"),
        ("osx", "arm64"),
        ("win", "arm64"),
    ):
        facts[system_name + machine_name] = platform == f"{system_name}-{machine_name}"
    return facts


def applies(line: str, platform: str) -> bool | None:
    """Say whether a line counts on `platform`; None when its selector cannot be understood.

    A line without a selector always counts.
    """
    found = _SELECTOR.search(line)
    if found is None:
        return True
    # `linux-64` is a platform's name, not a subtraction
    expression = re.sub(r"\b(linux|osx|win)-(\w+)", r"\1\2", found.group(1))
    try:
        return _evaluate(ast.parse(expression.strip(), mode="eval").body, _facts(platform))
    except (SyntaxError, KeyError, TypeError):
        return None


def _evaluate(node: ast.expr, facts: dict[str, bool]) -> bool:
    match node:
        case ast.Name(id=name):
            return facts[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, facts)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_evaluate(value, facts) for value in values)
        case ast.BoolOp(values=values):
            return any(_evaluate(value, facts) for value in values)
        case _:
            raise TypeError(ast.dump(node))
