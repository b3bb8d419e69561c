"""runtime.txt: the version of Python (or of R, which buildpacks.r speaks for)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildpacks.malformed import at, malformed
from reespack.buildpack import API, Claim, Contribution, Evidence
from reespack.model import LanguageVersion

if TYPE_CHECKING:
    from reespack.model import Repository, Target

__all__ = ["R_RUNTIME", "RuntimeTxt", "runtime_text"]

R_RUNTIME = r"r-(?:\d+(?:\.\d+){1,2}(?:-\d{4}-\d{2}-\d{2})?|\d{4}-\d{2}-\d{2})"
"""`r-4.3`, `r-4.3-2024-01-15` (with the day whose packages are meant), `r-2024-01-15`."""

_PYTHON_RUNTIME = r"python-(\d+(?:\.\d+){0,2})"
_GRAMMAR = (
    "it holds one line: python-3, python-3.11, python-3.11.4, r-4.3, r-4.3-2024-01-15 "
    "or r-2024-01-15"
)
_RANK = 100


def runtime_text(repository: Repository) -> str | None:
    """Return what runtime.txt says, without the space around it; None when there is none."""
    path = repository.find("runtime.txt")
    return repository.read_text(path).strip() if path else None


class RuntimeTxt:
    """The version of Python that a repository runs with."""

    id = "runtime.txt"
    api = API
    files: tuple[str, ...] = ("runtime.txt",)
    slot: str | None = None
    rank = 0

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where there is a runtime.txt that does not ask for R."""
        path = repository.find("runtime.txt")
        if path is None or re.fullmatch(R_RUNTIME, runtime_text(repository) or ""):
            return None
        return Evidence(claims=(Claim(path=path, reason="the version of Python"),))

    def contribute(
        self,
        repository: Repository,
        evidence: Evidence,
        target: Target,  # noqa: ARG002 - the same on every platform
    ) -> Contribution:
        """Return the version; raise MalformedFileError for anything but one runtime."""
        path = evidence.claims[0].path
        text = runtime_text(repository) or ""
        version = re.fullmatch(_PYTHON_RUNTIME, text)
        if version is None:
            said = f"`{text.splitlines()[0]}` is not a runtime" if text else "is empty"
            extra = " (and more lines)" if "\n" in text else ""
            raise malformed(at(path, 1), said + extra, _GRAMMAR)
        number = version[1]
        exact = number.count(".") == 2  # noqa: PLR2004 - major.minor.patch
        asked = LanguageVersion(
            language="python",
            version=number if exact else f"{number}.*",
            origin=at(path, _line(repository.read_text(path))),
            rank=_RANK,
        )
        return Contribution(language_versions=(asked,), languages=("python",))


def _line(text: str) -> int:
    """Return the line that the one word of a text stands in."""
    return text[: len(text) - len(text.lstrip())].count("\n") + 1
