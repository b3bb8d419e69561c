"""Disks that are full or cannot be written: one error line, and nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from disks import in_namespace
from outputs import PLAIN, Output
from sites import Site, repository, well_said

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("full", "size", "exit_codes"),
    [("dist", "1m", {60}), ("cache", "20m", {50}), ("cache", "16k", {2, 40, 41, 50})],
)
def test_full_disk(site: Site, tmp_path: Path, full: str, size: str, exit_codes: set[int]) -> None:
    own = Site(tmp_path, site.channel, site.python) if full == "cache" else site
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    (tmp_path / full).mkdir()
    words = in_namespace(tmp_path / full, f"size={size}")
    # What is left can only be seen from inside the namespace.
    look = '"$@"; code=$?; find {} -name "*.tar.zst*" -o -path "*/builds/*" >&2; exit $code'
    within = [*words, "sh", "-c", look.format(tmp_path / full), "sh"]
    ended = own.run("build", repo, "-o", tmp_path / "dist", within=within)
    assert ended.returncode in exit_codes, ended.stderr
    well_said(ended.stderr)
    assert "No space left" in ended.stderr
    assert ended.stderr.rstrip().splitlines()[-1][:1] != "/"


def test_archive_that_may_not_grow(
    output: Output, site: Site, tmp_path: Path, archive: Path
) -> None:
    """A limit on the size of files: all is well up to the archive itself."""
    repo = repository(tmp_path / "repo", environment__yml="dependencies: [python, toolz]\n")
    limit = f'ulimit -f {archive.stat().st_size * 3 // 4 // 512}; exec "$@"'
    site.fail(60, "build", repo, "-o", output.folder, within=["sh", "-c", limit, "sh"])
    output.unchanged()


@pytest.mark.parametrize("place", ["{file}", "{file}/below", "/proc/nowhere"])
def test_output_folder_that_cannot_be_written(site: Site, tmp_path: Path, place: str) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    (tmp_path / "file").write_text("in the way")
    said = site.fail(60, "build", repo, "-o", place.format(file=tmp_path / "file"))
    assert "--output" in said
    assert (tmp_path / "file").read_text() == "in the way"


def test_output_folder_on_a_read_only_disk(site: Site, tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    (tmp_path / "dist").mkdir()
    words = in_namespace(tmp_path / "dist", "ro")
    site.fail(60, "build", repo, "-o", tmp_path / "dist", within=words)


@pytest.mark.parametrize("place", ["{file}", "{file}/below", "/proc/nowhere"])
def test_cache_that_cannot_be_written(output: Output, tmp_path: Path, place: str) -> None:
    repo = repository(tmp_path / "repo", environment__yml=PLAIN)
    (tmp_path / "file").write_text("in the way")
    cache = place.format(file=tmp_path / "file")
    ended = output.site.run("build", repo, "-o", output.folder, env={"REESPACK_CACHE": cache})
    assert ended.returncode == 2
    well_said(ended.stderr)
    assert "REESPACK_CACHE" in ended.stderr
    output.unchanged()


def test_unpacking_onto_a_full_disk(site: Site, archive: Path, tmp_path: Path) -> None:
    words = in_namespace(tmp_path, "size=20m")
    said = site.fail(70, "unpack", archive, tmp_path / "environment", within=words)
    assert "No space left" in said
