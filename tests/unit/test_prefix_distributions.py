from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from reespack.files import sha256_bytes
from reespack.prefix.distributions import (
    Distribution,
    distributions,
    drop_files,
    drop_foreign_lines,
    normalized,
    recorded_digests,
    replace_direct_url,
)

if TYPE_CHECKING:
    from pathlib import Path

RECORD = """\
thing/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
"odd, name.py",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
../../../bin/thing,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
../../../../scratch/thing.pyc,,
Some_Thing-1.0.dist-info/direct_url.json,sha256=x,3
Some_Thing-1.0.dist-info/REQUESTED,,
Some_Thing-1.0.dist-info/RECORD,,
"""


@pytest.fixture
def thing(tmp_path: Path) -> Distribution:
    metadata = tmp_path / "env/lib/python3.12/site-packages/Some_Thing-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "RECORD").write_text(RECORD)
    (metadata / "REQUESTED").touch()
    (metadata / "direct_url.json").write_text('{"url": "file:///here", "dir_info": {}}')
    (found,) = distributions(tmp_path / "env")
    return found


def lines(distribution: Distribution) -> list[str]:
    rows = csv.reader((distribution.metadata / "RECORD").read_text().splitlines())
    return [row[0] for row in rows]


def test_a_distribution_is_known_by_its_normalized_name(thing: Distribution) -> None:
    assert thing.name == "some-thing"
    assert normalized("Zope.Interface__x") == "zope-interface-x"
    assert thing.direct_url == {"url": "file:///here", "dir_info": {}}


def test_a_prefix_without_python_has_no_distributions(tmp_path: Path) -> None:
    assert list(distributions(tmp_path)) == []


def test_the_link_for_old_condas_is_not_where_they_lie(thing: Distribution) -> None:
    prefix = thing.metadata.parents[3]
    (prefix / "lib/python3.1").symlink_to("python3.12")
    assert list(distributions(prefix)) == [thing]
    assert "lib/python3.12/site-packages/thing/__init__.py" in recorded_digests(prefix)


def test_dropped_files_leave_no_line_in_record(thing: Distribution) -> None:
    drop_files(thing, "REQUESTED", "direct_url.json", "never-there")
    assert not (thing.metadata / "REQUESTED").exists()
    assert thing.direct_url == {}
    assert lines(thing) == [
        "thing/__init__.py",
        "odd, name.py",
        "../../../bin/thing",
        "../../../../scratch/thing.pyc",
        "Some_Thing-1.0.dist-info/RECORD",
    ]


def test_lines_that_lead_out_of_the_environment_go(thing: Distribution, tmp_path: Path) -> None:
    drop_foreign_lines(thing, tmp_path / "env")
    assert "../../../../scratch/thing.pyc" not in lines(thing)
    assert "../../../bin/thing" in lines(thing)
    assert len(lines(thing)) == 6


def test_a_new_direct_url_is_recorded_with_its_digest(thing: Distribution, tmp_path: Path) -> None:
    replace_direct_url(thing, {"url": "https://example.org/x", "vcs_info": {"vcs": "git"}})
    content = (thing.metadata / "direct_url.json").read_bytes()
    assert json.loads(content)["vcs_info"] == {"vcs": "git"}
    assert lines(thing).count("Some_Thing-1.0.dist-info/direct_url.json") == 1
    path = "lib/python3.12/site-packages/Some_Thing-1.0.dist-info/direct_url.json"
    assert recorded_digests(tmp_path / "env")[path] == sha256_bytes(content)


def test_recorded_digests_are_by_path_in_the_prefix(thing: Distribution, tmp_path: Path) -> None:
    del thing
    (metadata,) = (tmp_path / "env/lib/python3.12/site-packages").iterdir()
    record = metadata / "RECORD"
    record.write_text(record.read_text().replace("sha256=x,3", ",,"))
    digests = recorded_digests(tmp_path / "env")
    assert digests["bin/thing"] == sha256_bytes(b"")
    assert digests["lib/python3.12/site-packages/odd, name.py"] == sha256_bytes(b"")
