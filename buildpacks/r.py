"""R's files: recognised, and refused until there is a buildpack that reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildpacks.refusal import Refusal
from buildpacks.runtime_txt import R_RUNTIME, runtime_text
from reespack.buildpack import Claim, Evidence
from reespack.model import Verdict

if TYPE_CHECKING:
    from reespack.model import Repository

__all__ = ["R"]

_REASON = "R repositories are not supported yet"
_PACKAGE = rb"(?m)^Package:"


class R(Refusal):
    """install.R, an R package's DESCRIPTION (in the root only), and `r-...` in runtime.txt."""

    id = "r"
    files: tuple[str, ...] = ("install.R", "DESCRIPTION")

    def detect(self, repository: Repository) -> Evidence | None:
        """Apply where one of R's files counts."""
        paths = [repository.find("install.R")]
        if (text := runtime_text(repository)) and re.fullmatch(R_RUNTIME, text):
            paths.append(repository.find("runtime.txt"))
        if not repository.config_folder and repository.is_file("DESCRIPTION"):
            # other tools have a DESCRIPTION too; an R package's names the package
            package = re.search(_PACKAGE, repository.read_bytes("DESCRIPTION"))
            paths.append("DESCRIPTION" if package else None)
        claims = tuple(
            Claim(path=path, verdict=Verdict.REFUSED, reason=_REASON) for path in paths if path
        )
        return Evidence(claims=claims, blocking=True) if claims else None
