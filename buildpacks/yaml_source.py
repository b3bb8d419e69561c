"""YAML as a tree of nodes that remember their lines.

The nodes are ruamel.yaml's own, from its composer: nothing is turned into Python objects, so that
`3.10` is still the text "3.10" when the error message needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildpacks.malformed import at, malformed

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

    from reespack.model import Origin

__all__ = ["compose", "entries", "items", "kind", "line_of", "place", "scalar"]

_TAG = "tag:yaml.org,2002:"
_KINDS = {"seq": "a list", "map": "a mapping", "str": "text", "null": "nothing"}


def compose(text: str, path: str) -> Node | None:
    """Return the root node of a YAML document; None when there is nothing but comments.

    Raises MalformedFileError for text that is not YAML, or more than one document.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        tab = "\\t" in str(error.problem)
        problem = str(error.problem or error.context).rstrip(".")
        raise malformed(
            at(path, line),
            "YAML does not allow a tab here" if tab else f"is not YAML: {problem}",
            "indent with spaces" if tab else "check the indentation, colons and quotes there",
        ) from error
    except YAMLError as error:
        problem = str(error).splitlines()[0].rstrip(".")
        line = _control_character_line(text)
        raise malformed(at(path, line), f"is not YAML: {problem}") from error
    return root


def _control_character_line(text: str) -> int | None:
    for number, line in enumerate(text.split("\n"), start=1):
        if not all(character.isprintable() or character == "\t" for character in line):
            return number
    return None


def line_of(node: Node) -> int:
    """Return the line that a node begins in, from 1."""
    return int(node.start_mark.line) + 1


def place(node: Node, path: str) -> Origin:
    """Return the origin of a node."""
    return at(path, line_of(node))


def kind(node: Node) -> str:
    """Say in words what a node is: "a list", "a mapping", "text", "nothing", "a float"."""
    name = str(node.tag).removeprefix(_TAG)
    return _KINDS.get(name, f"a {name}")


def entries(node: Node, path: str) -> dict[str, tuple[Node, Node]]:
    """Return a mapping node's key and value nodes by key; raise on keys that stand twice."""
    found: dict[str, tuple[Node, Node]] = {}
    for key, value in node.value:
        name = key.value if isinstance(key.value, str) else str(key.value)
        if name in found:
            first = line_of(found[name][0])
            raise malformed(
                place(key, path),
                f"the key `{name}` stands twice (first in line {first})",
                "merge the two into one",
            )
        found[name] = (key, value)
    return found


def items(node: Node) -> list[Node]:
    """Return the nodes of a list node."""
    return list(node.value)


def scalar(node: Node) -> str | None:
    """Return the text of a scalar node just as it is written; None for lists, mappings, null."""
    if not isinstance(node.value, str) or str(node.tag) == f"{_TAG}null":
        return None
    return node.value
