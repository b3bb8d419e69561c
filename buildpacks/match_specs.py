"""conda's match specs, as one line of a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildpacks.malformed import malformed
from reespack.model import CondaRequirement

if TYPE_CHECKING:
    from reespack.model import Origin

__all__ = ["conda_requirement"]

_VERSION = r"\d+(?:\.\d+)*(?:\.\*)?"
_PLAIN = re.compile(
    rf"(?P<name>[a-z_][a-z0-9_-]*)(?: ?(?:=|>=|<=|==|!=|<|>){_VERSION})?"
    rf"(?:,(?:>=|<=|!=|<|>){_VERSION})*",
)
"""What nearly every line is: a name, or a name and versions. It is valid whoever parses it, and
not loading a parser for it saves a third of the whole time that detection takes."""


def conda_requirement(text: str, origin: Origin) -> CondaRequirement:
    """Return the requirement that `text` states; raise MalformedFileError when it states none."""
    spec = " ".join(text.split())
    plain = _PLAIN.fullmatch(spec)
    name = plain["name"] if plain else _parsed_name(spec, origin)
    return CondaRequirement(spec=spec, name=name, origin=origin)


def _parsed_name(spec: str, origin: Origin) -> str:
    """Return the package name in a spec that only a real parser can judge."""
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    try:
        parsed = MatchSpec(spec)
    except InvalidMatchSpecError as error:
        problem = str(error).splitlines()[0].split(": '")[0]
        raise malformed(origin, f"`{spec}` is not a match spec: {problem}", _hint(spec)) from error
    build = str(parsed.build or "")
    if spec.startswith("-") or " " in build or re.search(r"[<>=!]", build):
        raise malformed(origin, f"`{spec}` is not a match spec", _hint(spec))
    if parsed.name is None:
        raise malformed(origin, f"`{spec}` names no package", _hint(spec))
    return str(getattr(parsed.name, "normalized", parsed.name))


def _hint(spec: str) -> str:
    """Say what the author of an invalid match spec probably meant."""
    if swapped := re.match(r"([\w.-]+)\s*=([<>])\s*(.*)", spec):
        return f"did you mean `{swapped[1]}{swapped[2]}={swapped[3]}`?"
    if re.match(r"(git|hg|svn|bzr)\+|[\w.-]+\s*@|-|\.|[\w.-]+\[[\w, -]+\]", spec):
        return "what pip understands belongs under `- pip:`"
    if chained := re.fullmatch(r"([^<>=!\s]+)\s*([<>=!]+[^<>=!\s]+)\s*([<>=!]+[^<>=!\s]+)", spec):
        return f"did you mean `{chained[1]}{chained[2]},{chained[3]}`?"
    if triple := re.match(r"([\w.-]+)===(.*)", spec):
        return f"conda has no `===`; did you mean `{triple[1]}=={triple[2]}`?"
    return "a match spec reads `name`, `name=1.2`, `name>=1.2,<2` or `channel::name=1.2=build`"
