from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from reespack.buildpack import Claim, Contribution, Evidence
from reespack.detection import detect, require_usable
from reespack.errors import (
    BuildpackError,
    DetectError,
    MalformedFileError,
    RefusedError,
    RepositoryError,
)
from reespack.json_form import detection_to_json
from reespack.model import Detection, LanguageVersion, Origin, Repository, Target, Verdict
from reespack.registry import RegisteredBuildpack, load_buildpacks

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = "dependencies:\n  - python=3.11\n"
BUILDPACKS = load_buildpacks()


def repository(root: Path) -> Repository:
    return Repository(root=root.resolve(), top=root.resolve(), name="r", source=str(root))


def run(root: Path, *more: RegisteredBuildpack) -> Detection:
    return detect(
        repository(root), target=Target(platform="linux-64"), buildpacks=(*BUILDPACKS, *more)
    )


class Toy:
    """A buildpack of a third party, for toy.txt."""

    id = "toy"
    api = 1
    files: tuple[str, ...] = ("toy.txt",)

    def __init__(
        self,
        *,
        slot: str | None = None,
        rank: int = 0,
        claim: Claim | None = None,
        contribution: Contribution | None = None,
        error: Exception | None = None,
    ) -> None:
        self.slot = slot
        self.rank = rank
        self.claim = claim or Claim(path="toy.txt", reason="a toy")
        self.contribution = contribution or Contribution()
        self.error = error

    def detect(self, repository: Repository) -> Evidence | None:
        return Evidence(claims=(self.claim,)) if repository.find("toy.txt") else None

    def contribute(
        self, repository: Repository, evidence: Evidence, target: Target
    ) -> Contribution:
        del repository, evidence, target
        if self.error:
            raise self.error
        return self.contribution


def toy(**members: object) -> RegisteredBuildpack:
    return RegisteredBuildpack(
        buildpack=Toy(**members),  # type: ignore[arg-type]
        distribution="toys",
        version="1.0",
    )


def verdicts(detection: Detection) -> dict[str, str]:
    return {file.path: file.verdict.value for file in detection.files}


def test_each_file_carries_its_digest(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text(ENVIRONMENT)
    (tmp_path / "requirements.txt").write_text("numpy\n")
    found = {file.path: file for file in run(tmp_path).files}
    digest = hashlib.sha256(ENVIRONMENT.encode()).hexdigest()
    assert found["environment.yml"].sha256 == digest
    assert found["requirements.txt"].verdict is Verdict.IGNORED
    assert found["requirements.txt"].sha256 == hashlib.sha256(b"numpy\n").hexdigest()


def test_buildpacks_that_contribute_are_listed_with_versions(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").touch()
    assert run(tmp_path, toy()).buildpacks == (("toy", "1.0"),)


def test_the_highest_rank_of_a_slot_wins_and_the_other_is_said_loudly(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").touch()
    (tmp_path / "environment.yml").write_text(ENVIRONMENT)
    won = run(tmp_path, toy(slot="packages", rank=1000))
    assert verdicts(won) == {"toy.txt": "used", "environment.yml": "ignored"}
    assert any("environment.yml is ignored" in note.message for note in won.notes)
    lost = run(tmp_path, toy(slot="packages", rank=1))
    assert verdicts(lost) == {"toy.txt": "ignored", "environment.yml": "used"}


def test_a_file_that_another_reads_is_used(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").touch()
    (tmp_path / "requirements.txt").write_text("numpy\n")
    origin = Origin(file="toy.txt", line=1)
    found = run(
        tmp_path,
        toy(
            slot="packages",
            rank=1000,
            contribution=Contribution(reads=(("requirements.txt", origin),)),
        ),
    )
    row = next(file for file in found.files if file.path == "requirements.txt")
    assert (row.verdict, row.reason) == (Verdict.USED, "toy.txt:1 refers to it")
    assert not found.notes


def test_content_may_decide_a_verdict(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").touch()
    claim = Claim(path="toy.txt", verdict=Verdict.IGNORED, reason="not today")
    found = run(tmp_path, toy(contribution=Contribution(claims=(claim,))))
    assert found.files[0].reason == "not today"


def test_the_highest_rank_decides_on_a_version(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").touch()
    (tmp_path / "runtime.txt").write_text("python-3.9")
    version = LanguageVersion(
        language="python", version="3.8.*", origin=Origin(file="toy.txt"), rank=1
    )
    found = run(tmp_path, toy(contribution=Contribution(language_versions=(version,))))
    assert verdicts(found) == {"runtime.txt": "used", "toy.txt": "ignored"}
    assert "runtime.txt:1 decides on Python" in found.notes[0].message


def test_a_buildpack_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").touch()
    with pytest.raises(BuildpackError, match="the buildpack toy failed: KeyError: 'x'"):
        run(tmp_path, toy(error=KeyError("x")))


def test_refusals_stand_in_the_table_before_they_are_raised(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").touch()
    found = run(tmp_path)
    assert verdicts(found) == {"Dockerfile": "refused"}
    with pytest.raises(RefusedError, match="Dockerfile is refused"):
        require_usable(found, allow_empty=True)
    assert detection_to_json(found, None)["spec"] is None


def test_nothing_is_an_error_unless_allowed(tmp_path: Path) -> None:
    found = run(tmp_path)
    with pytest.raises(DetectError, match="nothing to build from") as caught:
        require_usable(found, allow_empty=False)
    assert "--allow-empty" in str(caught.value.hint)
    require_usable(found, allow_empty=True)


def test_both_binder_folders(tmp_path: Path) -> None:
    (tmp_path / "binder").mkdir()
    (tmp_path / ".binder").mkdir()
    with pytest.raises(DetectError, match=r"both binder/ and \.binder/"):
        run(tmp_path)


def test_an_empty_binder_folder_hides_the_root(tmp_path: Path) -> None:
    (tmp_path / "binder").mkdir()
    (tmp_path / "environment.yml").write_text(ENVIRONMENT)
    assert verdicts(run(tmp_path)) == {"environment.yml": "ignored"}


@pytest.mark.parametrize("name", ["environment.yml", "requirements.txt", "postBuild", "binder"])
def test_links_out_of_the_repository_are_refused(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text(ENVIRONMENT)
    root = tmp_path / "root"
    root.mkdir()
    (root / name).symlink_to(outside if name == "binder" else outside / "file")
    with pytest.raises(RepositoryError, match="leads out of the repository"):
        run(root)


def test_an_ignored_link_out_of_the_repository_is_harmless(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "binder").mkdir(parents=True)
    (root / "binder" / "environment.yml").write_text(ENVIRONMENT)
    (tmp_path / "requirements.txt").write_text("secret\n")
    (root / "requirements.txt").symlink_to(tmp_path / "requirements.txt")
    found = {file.path: file for file in run(root).files}
    assert found["requirements.txt"].verdict is Verdict.IGNORED
    assert found["requirements.txt"].sha256 is None


def test_links_inside_the_repository_are_followed(tmp_path: Path) -> None:
    (tmp_path / "conf.yml").write_text(ENVIRONMENT)
    (tmp_path / "environment.yml").symlink_to("conf.yml")
    assert verdicts(run(tmp_path)) == {"environment.yml": "used"}


def test_links_to_nothing_are_not_dropped_in_silence(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "environment.yml").symlink_to("gone.yml")
    with pytest.raises(MalformedFileError, match=r"environment\.yml: is a link to nothing"):
        run(tmp_path)


def test_a_binder_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "binder").symlink_to("gone")
    with pytest.raises(DetectError, match="binder is a link to nothing"):
        run(tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    file.write_text(ENVIRONMENT)
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(MalformedFileError, match=r"environment\.yml: cannot be read"):
        run(tmp_path)


def test_the_order_of_buildpacks_does_not_matter(tmp_path: Path) -> None:
    for name, text in {
        "environment.yml": ENVIRONMENT,
        "requirements.txt": "numpy\n",
        "apt.txt": "vim\n",
        "Dockerfile": "",
    }.items():
        (tmp_path / name).write_text(text)
    target = Target(platform="linux-64")
    one = detect(repository(tmp_path), target=target, buildpacks=BUILDPACKS)
    other = detect(repository(tmp_path), target=target, buildpacks=BUILDPACKS[::-1])
    assert one == other
