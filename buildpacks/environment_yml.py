"""environment.yml: conda's own file, with its `pip:` section."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from buildpacks.malformed import at, malformed, nearest
from buildpacks.match_specs import conda_requirement
from buildpacks.pip_requirements import read_lines
from buildpacks.selectors import applies
from buildpacks.yaml_source import compose, entries, items, kind, line_of, place, scalar
from reespack.buildpack import API, PACKAGES, Claim, Contribution, Evidence
from reespack.model import ADDED, CondaRequirement, Note, Verdict

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

    from reespack.model import Origin, Repository, Target

__all__ = ["EnvironmentYml"]

NAMES = ("environment.yml", "environment.yaml")

_KEYS = ("name", "channels", "dependencies", "prefix", "variables")
_OTHER_TOOLS = ("category", "pip-repositories", "platforms")
"""Keys that conda-lock and others read; conda does not, and neither does reespack."""

_LOCKFILE_KEYS = {"metadata", "package"}, {"environments", "packages", "version"}
_VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class EnvironmentYml:
    """conda's environment file; `.yml` comes before `.yaml`."""

    id = "environment.yml"
    api = API
    files: tuple[str, ...] = NAMES
    slot: str | None = PACKAGES
    rank = 80

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is an environment.yml or .yaml."""
        found = [path for path in map(repository.find, NAMES) if path]
        if not found:
            return None
        ignored = [
            Claim(path=path, verdict=Verdict.IGNORED, reason=f"{found[0]} comes before it")
            for path in found[1:]
        ]
        used = Claim(path=found[0], reason="channels, conda and pip packages")
        return Evidence(claims=(used, *ignored))

    def contribute(
        self, repository: Repository, evidence: Evidence, target: Target
    ) -> Contribution:
        """Read the file once; raise MalformedFileError, naming file, line and key."""
        path = evidence.claims[0].path
        text = repository.read_text(path)
        _reject_explicit(text, path)
        return _Reader(
            path=path, lines=text.split("\n"), repository=repository, target=target
        ).read(compose(text, path))


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class _Reader:
    """Turns the nodes of one file into requests."""

    path: str
    lines: list[str]
    repository: Repository
    target: Target
    notes: list[Note] = field(default_factory=list)

    def read(self, root: Node | None) -> Contribution:
        """Return what the file asks for."""
        keys = self._keys(root)
        channels = self._channels(*keys["channels"]) if "channels" in keys else ()
        conda, pip = self._dependencies(*keys["dependencies"])
        contribution = self._pip(pip)
        if pip and not any(requirement.name == "pip" for requirement in conda):
            conda.append(CondaRequirement(spec="pip", name="pip", origin=ADDED))
            message = "pip is added to the conda packages, since there is a `pip:` section"
            self.notes.append(Note(message=message, origin=at(self.path), level="info"))
        return replace(
            contribution,
            channels=channels,
            conda=tuple(conda),
            variables=self._variables(keys["variables"][1]) if "variables" in keys else (),
            languages=("python",),
            notes=(*self.notes, *contribution.notes),
        )

    def _keys(self, root: Node | None) -> dict[str, tuple[Node, Node]]:
        if root is None:
            raise malformed(at(self.path), "is empty", "list packages under `dependencies:`")
        if kind(root) != "a mapping":
            raise malformed(
                place(root, self.path),
                f"is {kind(root)} at the top, where `dependencies:` is expected",
                "conda's format has the keys name, channels and dependencies at the top",
            )
        keys = entries(root, self.path)
        for marks in _LOCKFILE_KEYS:
            if marks <= keys.keys():
                raise malformed(
                    place(root, self.path),
                    "is a lockfile, not an environment.yml",
                    "name a lockfile of conda-lock's conda-lock.yml",
                )
        for name, (key, _) in keys.items():
            self._judge_key(name, place(key, self.path))
        if "dependencies" not in keys:
            near = nearest("dependencies", keys.keys() - set(_KEYS))
            raise malformed(
                place(keys[near][0], self.path) if near else at(self.path),
                f"`{near}` is not a key, and there is no `dependencies`"
                if near
                else "has no `dependencies`",
                "did you mean `dependencies`?"
                if near
                else "write `dependencies: []` for an environment with Python only",
            )
        return keys

    def _judge_key(self, name: str, origin: Origin) -> None:
        if name in _OTHER_TOOLS:
            message = f"the key `{name}` is read by other tools and has no effect here"
            self.notes.append(Note(message=message, origin=origin, level="info"))
        elif name not in _KEYS:
            near = nearest(name, _KEYS)
            hint = f"did you mean `{near}`?" if near else f"conda's keys are {', '.join(_KEYS)}"
            self.notes.append(
                Note(message=f"the unknown key `{name}` is ignored", hint=hint, origin=origin)
            )

    def _channels(self, key: Node, node: Node) -> tuple[tuple[str, Origin], ...]:
        if kind(node) == "nothing":
            return ()
        channels = []
        for item in self._list(key, node):
            origin = place(item, self.path)
            name = scalar(item)
            if not name or kind(item) != "text":
                raise malformed(origin, f"a channel is {kind(item)}, not a name or URL")
            if name == "default":
                message = "there is no channel called `default`"
                self.notes.append(
                    Note(message=message, hint="did you mean `defaults`?", origin=origin)
                )
            if (
                name != "nodefaults"
            ):  # conda's word for "no configured channels", which we never add
                channels.append((name, origin))
        return tuple(channels)

    def _dependencies(
        self, key: Node, node: Node
    ) -> tuple[list[CondaRequirement], list[tuple[Origin, str]] | None]:
        """Return the conda half, and the lines of the pip half (None without a `pip:`)."""
        conda: list[CondaRequirement] = []
        pip: list[tuple[Origin, str]] | None = None
        for item in self._list(key, node):
            origin = place(item, self.path)
            if kind(item) == "a mapping":
                if pip is not None:
                    raise malformed(origin, "`pip:` stands twice", "merge the two into one")
                pip = self._pip_section(item)
            elif self._counts(item):
                conda.append(conda_requirement(self._text(item, "a match spec"), origin))
                self._note_exact_python(conda[-1])
        return conda, pip

    def _note_exact_python(self, requirement: CondaRequirement) -> None:
        """Say what a space means to conda, where nobody means it."""
        if exact := re.fullmatch(r"python (\d+(?:\.\d+)?)", requirement.spec):
            self.notes.append(
                Note(
                    message=f"`{requirement.spec}` means {exact[1]}.0 and no other version",
                    hint=f"did you mean `python={exact[1]}`?",
                    origin=requirement.origin,
                )
            )

    def _pip_section(self, node: Node) -> list[tuple[Origin, str]]:
        sections = entries(node, self.path)
        for name, (key, value) in sections.items():
            if name != "pip":
                version = scalar(value)
                hint = (
                    f"a match spec has an equal sign: `{name}={version}`"
                    if version
                    else "`pip:` is the only section that environment.yml has"
                )
                raise malformed(place(key, self.path), f"`{name}:` is not a match spec", hint)
        return [
            (place(item, self.path), self._text(item, "a requirement"))
            for item in self._list(*sections["pip"])
            if self._counts(item)
        ]

    def _pip(self, lines: list[tuple[Origin, str]] | None) -> Contribution:
        """Read the pip half; conda runs pip in the folder that the file lies in."""
        return read_lines(self.repository, lines or (), self.path.rpartition("/")[0])

    def _list(self, key: Node, node: Node) -> list[Node]:
        """Return the entries of the list under `key`; raise, at the key, when it is none."""
        if kind(node) != "a list":
            what = "has no entries" if kind(node) == "nothing" else f"is {kind(node)}, not a list"
            raise malformed(
                place(key, self.path),
                f"`{key.value}` {what}",
                f"write the entries below `{key.value}:`, each after `- `",
            )
        return items(node)

    def _text(self, node: Node, what: str) -> str:
        text = scalar(node)
        if kind(node) == "text" and text and text.strip():
            return text
        if text is not None and kind(node) != "text":
            hint = f"a package's name is missing before it, as in `python={text}`"
        else:
            hint = "remove the entry, or write a package's name"
        said = f"`{text}`" if text else "an entry"
        raise malformed(place(node, self.path), f"{said} is {kind(node)}, not {what}", hint)

    def _counts(self, node: Node) -> bool:
        """Say whether the selector behind an entry, if any, lets it count on the target."""
        line = line_of(node)
        verdict = applies(self.lines[line - 1], self.target.platform)
        origin = at(self.path, line)
        if verdict is None:
            message = "the selector is not understood, so the line counts on every platform"
            hint = "known are linux, osx, win, unix, platforms such as linux-64, and/or/not"
            self.notes.append(Note(message=message, hint=hint, origin=origin))
        elif not verdict:
            message = f"`{scalar(node)}` is left out on {self.target.platform}, by its selector"
            self.notes.append(Note(message=message, origin=origin, level="info"))
        return verdict is not False

    def _variables(self, node: Node) -> tuple[tuple[str, str], ...]:
        if kind(node) == "nothing":
            return ()
        if kind(node) != "a mapping":
            raise malformed(
                place(node, self.path),
                f"`variables` is {kind(node)}, not a mapping",
                "write `NAME: value` below it",
            )
        variables = []
        for name, (key, value) in entries(node, self.path).items():
            text = scalar(value)
            if not re.fullmatch(_VARIABLE_NAME, name):
                raise malformed(place(key, self.path), f"`{name}` is not a variable's name")
            if text is None:
                raise malformed(
                    place(value, self.path), f"the variable `{name}` is {kind(value)}, not text"
                )
            variables.append((name, text))
        return tuple(variables)


def _reject_explicit(text: str, path: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() == "@EXPLICIT":
            raise malformed(
                at(path, number),
                "is an explicit lockfile, not an environment.yml",
                "name it conda-linux-64.lock (or the platform it is for)",
            )
