"""Detection: which files of a repository count, and what they ask for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from reespack.buildpack import Contribution
from reespack.detection.verdicts import VerdictTable
from reespack.detection.vocabulary import misspelt, present_files
from reespack.errors import BuildpackError, DetectError, ReespackError, RefusedError
from reespack.languages import choose_version
from reespack.model import BINDER_FOLDERS, Detection, Note, Repository, Target, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reespack.buildpack import Buildpack, Claim, Evidence
    from reespack.registry import RegisteredBuildpack

__all__ = ["detect", "require_usable"]

Result = TypeVar("Result")


class _Applying(NamedTuple):
    """A buildpack that applies, and its evidence."""

    buildpack: Buildpack
    evidence: Evidence

    def claims(self, verdict: Verdict) -> tuple[Claim, ...]:
        """Return the claims with one verdict."""
        return tuple(claim for claim in self.evidence.claims if claim.verdict is verdict)


def detect(
    repository: Repository, *, target: Target, buildpacks: Sequence[RegisteredBuildpack]
) -> Detection:
    """Return a verdict for every REES file of `repository`, and the contributions of those used.

    Nothing but the repository's own files is read. Raises DetectError for two binder folders,
    MalformedFileError for a file that cannot be read, RepositoryError for a link that leads out
    of the repository, and BuildpackError when a buildpack itself fails. A refusal raises nothing
    here: it stands in the table, and `require_usable` raises it.
    """
    _check_folder(repository)
    ordered = sorted(buildpacks, key=lambda one: (-one.buildpack.rank, one.buildpack.id))
    present = present_files(repository, ordered)
    applying = _detect_all(repository, [one.buildpack for one in ordered])
    winners = _slot_winners(applying)
    active = [one for one in applying if winners.get(one.buildpack.slot, one) is one]
    active = [one for one in active if one.claims(Verdict.USED)]
    contributions = [_contribution(one, repository, target) for one in active]

    table = VerdictTable()  # what is put first stays
    notes = list(misspelt(repository, ordered))
    pairs = list(zip(active, contributions, strict=True))
    _put_contributed(pairs, table)
    notes += _put_lost_versions(pairs, table)
    _put_used(pairs, table)
    notes += _put_slot_losers(applying, winners, table)
    notes += _put_refusals(applying, table)
    for one in applying:
        for claim in one.claims(Verdict.IGNORED):
            table.put(claim.path, Verdict.IGNORED, claim.reason, one.buildpack.id)
    table.put_leftovers(present, repository)
    for contribution in contributions:
        notes += contribution.notes
    versions = {one.buildpack.id: one.version for one in ordered}
    return Detection(
        repository=repository,
        target=target,
        files=table.rows(repository),
        contributions=tuple((one.buildpack.id, found) for one, found in pairs),
        buildpacks=tuple((one.buildpack.id, versions[one.buildpack.id]) for one in active),
        notes=tuple(dict.fromkeys(notes)),
    )


def require_usable(detection: Detection, *, allow_empty: bool) -> None:
    """Raise RefusedError for refused files, and DetectError when there is nothing to build from."""
    refused = [file for file in detection.files if file.verdict is Verdict.REFUSED]
    if refused:
        others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise RefusedError(
            f"{refused[0].path} is refused: {refused[0].reason}{others}",
            hint="say what the repository needs in an environment.yml "
            "(in a folder binder/, where only the files in there count)",
        )
    if not allow_empty and not any(file.verdict is Verdict.USED for file in detection.files):
        folder = detection.repository.config_folder
        raise DetectError(
            f"nothing to build from: no usable REES file in {folder or 'the root'}",
            hint="add an environment.yml or a requirements.txt, "
            "or pass --allow-empty for a plain Python",
        )


def _check_folder(repository: Repository) -> None:
    """Raise when the folder that the files are looked for in is not one of the repository's."""
    for name in BINDER_FOLDERS:
        path = repository.root / name
        if path.is_symlink() and not path.exists():
            raise DetectError(f"{name} is a link to nothing", hint="remove it, or commit a folder")
    if folder := repository.config_folder:
        repository.resolve(folder)


def _guarded(buildpack: Buildpack, call: Callable[[], Result]) -> Result:
    """Return what `call` does; turn anything but our own errors into a BuildpackError."""
    try:
        return call()
    except ReespackError:
        raise
    except Exception as error:
        raise BuildpackError(
            f"the buildpack {buildpack.id} failed: {type(error).__name__}: {error}",
            hint="this is a mistake in the buildpack, not in the repository; please report it",
        ) from error


def _detect_all(repository: Repository, buildpacks: Sequence[Buildpack]) -> list[_Applying]:
    applying = []
    for buildpack in buildpacks:
        evidence = _guarded(buildpack, partial(buildpack.detect, repository))
        if evidence is not None:
            applying.append(_Applying(buildpack=buildpack, evidence=evidence))
    return applying


def _slot_winners(applying: Sequence[_Applying]) -> dict[str | None, _Applying]:
    """Return who fills each slot: the first in the order of rank that uses a file."""
    winners: dict[str | None, _Applying] = {}
    for one in applying:
        if one.buildpack.slot is not None and one.claims(Verdict.USED):
            winners.setdefault(one.buildpack.slot, one)
    return winners


def _contribution(one: _Applying, repository: Repository, target: Target) -> Contribution:
    return _guarded(
        one.buildpack, lambda: one.buildpack.contribute(repository, one.evidence, target)
    )


def _put_contributed(pairs: Sequence[tuple[_Applying, Contribution]], table: VerdictTable) -> None:
    """Put the verdicts that only the content decides."""
    for one, contribution in pairs:
        for claim in contribution.claims:
            table.put(claim.path, claim.verdict, claim.reason, one.buildpack.id)


def _put_lost_versions(
    pairs: Sequence[tuple[_Applying, Contribution]], table: VerdictTable
) -> list[Note]:
    """Put as ignored the files whose only request is a version that another file decides."""
    asked = [version for _, found in pairs for version in found.language_versions]
    conda = [requirement for _, found in pairs for requirement in found.conda]
    lock = next((found.lockfile for _, found in pairs if found.lockfile), None)
    notes = []
    lost: dict[str, str] = {}
    for language in dict.fromkeys(version.language for version in asked):
        choice = choose_version(language, conda, asked)
        decides = lock.path if lock else choice.chosen.origin if choice.chosen else ""
        for version in asked if lock else choice.ignored:
            if version.language == language:
                reason = f"{decides} decides on {language.capitalize()}"
                lost[version.origin.file] = reason
                message = f"{language} {version.version} does not count: {reason}"
                notes.append(Note(message=message, origin=version.origin))
    for one, contribution in pairs:
        files = {version.origin.file for version in contribution.language_versions}
        rest = replace(contribution, language_versions=(), languages=(), notes=())
        if rest == Contribution() and files and files <= lost.keys():
            for file in sorted(files):
                table.put(file, Verdict.IGNORED, lost[file], one.buildpack.id)
    return notes


def _put_used(pairs: Sequence[tuple[_Applying, Contribution]], table: VerdictTable) -> None:
    for one, _ in pairs:
        for claim in one.claims(Verdict.USED):
            table.put(claim.path, Verdict.USED, claim.reason, one.buildpack.id)
    for one, contribution in pairs:
        for path, origin in contribution.reads:
            table.put(path, Verdict.USED, f"{origin} refers to it", one.buildpack.id)


def _put_slot_losers(
    applying: Sequence[_Applying],
    winners: dict[str | None, _Applying],
    table: VerdictTable,
) -> list[Note]:
    """Put the files of buildpacks whose slot another one fills, and say so loudly."""
    notes = []
    for one in applying:
        winner = winners.get(one.buildpack.slot, one)
        if winner is one:
            continue
        first = winner.claims(Verdict.USED)[0].path
        reason = f"{first} takes its place"
        lost = [
            claim.path
            for claim in one.claims(Verdict.USED)
            if table.put(claim.path, Verdict.IGNORED, reason, one.buildpack.id)
        ]
        if lost:
            verb = "is" if len(lost) == 1 else "are"
            notes.append(
                Note(
                    message=f"{' and '.join(lost)} {verb} ignored: {first} comes before",
                    hint=f"whatever is still needed from there belongs into {first}",
                )
            )
    return notes


def _put_refusals(applying: Sequence[_Applying], table: VerdictTable) -> list[Note]:
    """Put what is refused; one that does not block is only ignored beside usable files."""
    usable = table.has(Verdict.USED)
    notes = []
    for one in applying:
        for claim in one.claims(Verdict.REFUSED):
            if one.evidence.blocking or not usable:
                table.put(claim.path, Verdict.REFUSED, claim.reason, one.buildpack.id)
            elif table.put(
                claim.path,
                Verdict.IGNORED,
                f"{claim.reason}; the other files are used",
                one.buildpack.id,
            ):
                notes.append(Note(message=f"{claim.path} is ignored: {claim.reason}"))
    return notes
