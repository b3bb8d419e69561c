"""What two environments differ in, by their manifests and lists of files; nothing is unpacked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reespack.comparing.files import FileDifference, compare_members
from reespack.comparing.manifests import Difference, compare_packages, compare_settings
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reespack.archive.listing import Member

__all__ = ["Comparison", "Difference", "FileDifference", "compare", "compare_members", "same_tree"]


class Comparison(Value):
    """All differences, each sorted by name.

    `files` is None when the trees differ and at least one list of files is not known.
    """

    settings: tuple[Difference, ...]
    conda: tuple[Difference, ...]
    pip: tuple[Difference, ...]
    files: tuple[FileDifference, ...] | None

    @property
    def equal(self) -> bool:
        """Say whether nothing differs."""
        return not (self.settings or self.conda or self.pip) and self.files == ()

    def with_sums(self, first: str, second: str) -> Comparison:
        """Return the comparison with the archives' own sha256, if nothing else tells them apart."""
        if first == second or not self.equal:
            return self
        sums = Difference(name="the archive's bytes", first=first, second=second)
        return replace(self, settings=(sums,))


def same_tree(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Say whether two manifests are of the same files: paths, modes and contents."""
    digests = [manifest["contents"]["tree_digest"] for manifest in (first, second)]
    return bool(digests[0] == digests[1])


def compare(
    first: dict[str, Any],
    second: dict[str, Any],
    members: tuple[Iterable[Member], Iterable[Member]] | None = None,
) -> Comparison:
    """Compare two manifests and, where their trees differ, the members of the two archives."""
    files: tuple[FileDifference, ...] | None = ()
    if not same_tree(first, second):
        files = None if members is None else compare_members(*members)
    return Comparison(
        settings=compare_settings(first, second),
        conda=compare_packages(first["conda"], second["conda"]),
        pip=compare_packages(first["pip"], second["pip"]),
        files=files,
    )
