"""Requirements for pip, with the files and options that they lead to."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from buildpacks.malformed import malformed
from buildpacks.pip_lines import ParsedLine, decode, logical_lines, parse_line, without_comment
from buildpacks.pip_targets import Asked, pip_requirement, resolved
from reespack.buildpack import Contribution
from reespack.model import Note, PipOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.model import Origin, PipRequirement, Repository

__all__ = ["read_lines", "read_requirements"]

_WITHOUT_EFFECT = {
    "trusted-host": "certificates are always checked; a site's own belong in SSL_CERT_FILE",
    "use-feature": "it is a setting of pip's own, and pip does not install here",
    "prefer-binary": "uv resolves; list packages under --only-binary to have wheels only",
    "global-option": "builds go through PEP 517, which knows no global options",
    "config-settings": "the settings are not handed to the build",
}


def read_requirements(repository: Repository, path: str) -> Contribution:
    """Return what a requirements file asks for, with the files that it refers to.

    `-r` and `-c` are relative to the file they stand in, other paths to the repository's root:
    pip takes them from the working folder, and repo2docker runs it there. Raises
    MalformedFileError.
    """
    reader = _Reader(repository=repository, folder="")
    reader.read(path, constraint=False)
    return reader.contribution()


def read_lines(
    repository: Repository, lines: Iterable[tuple[Origin, str]], folder: str
) -> Contribution:
    """Return what lines of pip's grammar in another file ask for, paths relative to `folder`."""
    reader = _Reader(repository=repository, folder=folder)
    for origin, line in lines:
        if text := without_comment(line, origin):
            reader.take(parse_line(text, origin), origin, constraint=False, base=folder)
    return reader.contribution()


@dataclass(slots=True, eq=False, repr=False)
class _Reader:
    """Collects, over all the files that one leads to."""

    repository: Repository
    folder: str
    options: PipOptions = field(default_factory=PipOptions)
    pip: list[PipRequirement] = field(default_factory=list)
    constraints: list[PipRequirement] = field(default_factory=list)
    reads: list[tuple[str, Origin]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    open_files: list[str] = field(default_factory=list)

    def contribution(self) -> Contribution:
        """Return what has been collected."""
        return Contribution(
            pip=tuple(self.pip),
            pip_constraints=tuple(self.constraints),
            pip_options=self.options,
            reads=tuple(dict.fromkeys(self.reads)),
            notes=tuple(self.notes),
        )

    def read(self, path: str, *, constraint: bool) -> None:
        """Take a file, line by line."""
        text = decode(self.repository.read_bytes(path), path)
        self.open_files.append(path)
        for origin, line in logical_lines(text, path):
            parsed = parse_line(line, origin)
            self.take(parsed, origin, constraint=constraint, base=posixpath.dirname(path))
        self.open_files.pop()

    def take(self, line: ParsedLine, origin: Origin, *, constraint: bool, base: str) -> None:
        """Take one line; `base` is the folder that `-r`, `-c` and `-f` are relative to."""
        options = line.options
        texts = [(line.requirement, False)] if line.requirement else []
        texts += [(text, True) for text in options.get("editable", ())]
        for text, editable in texts:
            hashes = tuple(sorted(self._hash(value, origin) for value in options.get("hash", ())))
            asked = Asked(
                text=text, origin=origin, folder=self.folder, editable=editable, hashes=hashes
            )
            self._add(pip_requirement(asked, self.repository), constraint=constraint)
        if "hash" in options and not texts:
            raise malformed(origin, "--hash stands without a requirement")
        for file in options.get("requirement", ()):
            self._nested(file, origin, base, constraint=constraint)
        for file in options.get("constraint", ()):
            self._nested(file, origin, base, constraint=True)
        self._options(options, origin, base)

    def _add(self, requirement: PipRequirement, *, constraint: bool) -> None:
        if not constraint:
            self.pip.append(requirement)
            if requirement.path is not None:
                self._reads_project(requirement.path, requirement.origin)
            return
        if requirement.name is None or requirement.extras or requirement.editable:
            raise malformed(
                requirement.origin,
                f"`{requirement.text}` cannot be a constraint",
                "a constraint is a name with versions, without extras, paths or -e",
            )
        self.constraints.append(requirement)

    def _reads_project(self, path: str, origin: Origin) -> None:
        """Record that a project's own files count, since it is installed from them."""
        for name in ("pyproject.toml", "setup.py", "setup.cfg"):
            file = posixpath.normpath(posixpath.join(path, name))
            if self.repository.is_file(file):
                self.reads.append((file, origin))

    def _hash(self, value: str, origin: Origin) -> str:
        if not re.fullmatch(
            r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})", value
        ):
            raise malformed(
                origin,
                f"--hash={value} is not a digest",
                "pip wants `--hash=sha256:` and 64 hex digits",
            )
        return value

    def _nested(self, file: str, origin: Origin, base: str, *, constraint: bool) -> None:
        if re.match(r"[a-z]+:", file):
            raise malformed(origin, f"{file} lies outside of the repository", "commit a copy of it")
        path = posixpath.normpath(posixpath.join(base, file))
        if path in self.open_files:
            chain = " -> ".join((*self.open_files, path))
            raise malformed(origin, f"the files refer to each other in a circle: {chain}")
        if not resolved(path, origin, self.repository).is_file():
            raise malformed(
                origin,
                f"{path} is not in the repository",
                f"the path is relative to {base or 'the root of the repository'}",
            )
        self.reads.append((path, origin))
        self.read(path, constraint=constraint)

    def _options(self, options: dict[str, tuple[str, ...]], origin: Origin, base: str) -> None:
        if urls := options.get("index-url"):
            self.options = replace(self.options, index_url=urls[-1])
        if "no-index" in options:
            self.options = replace(self.options, no_index=True, index_url=None, extra_index_urls=())
        now = self.options
        self.options = replace(
            now,
            extra_index_urls=_joined(now.extra_index_urls, options.get("extra-index-url", ())),
            find_links=_joined(
                now.find_links,
                [self._link(link, origin, base) for link in options.get("find-links", ())],
            ),
            pre=now.pre or "pre" in options,
            require_hashes=now.require_hashes or "require-hashes" in options,
            no_binary=_formats(now.no_binary, options.get("no-binary", ())),
            only_binary=_formats(now.only_binary, options.get("only-binary", ())),
        )
        for name, why in _WITHOUT_EFFECT.items():
            if name in options:
                self.notes.append(Note(message=f"--{name} is ignored: {why}", origin=origin))

    def _link(self, link: str, origin: Origin, base: str) -> str:
        """Return a place with distributions: a URL, or a path in the repository."""
        if "://" in link:
            return link
        path = posixpath.normpath(posixpath.join(base, link.removeprefix("file:")))
        if not resolved(path, origin, self.repository).exists():
            raise malformed(origin, f"--find-links {link}: {path} is not in the repository")
        return path


def _joined(before: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *more)))


def _formats(before: tuple[str, ...], values: Iterable[str]) -> tuple[str, ...]:
    """Return the names under --no-binary or --only-binary; `:none:` starts anew, as in pip."""
    names = before
    for value in values:
        for name in value.split(","):
            names = () if name == ":none:" else _joined(names, [name.strip()])
    return names
