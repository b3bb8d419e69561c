"""The catalog: what is read, what is refused and with which line, and what editing keeps."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from reespack.catalog import add_entry, parse_catalog, read_catalog, remove_entry, schema
from reespack.errors import CatalogError

PATH = Path("/site/catalog.yml")
GOOD = """\
# For the summer school.
format: 1
title: "Choose"
default: beta
defaults:
  resources: {nprocs: 1, memory: 2G}
  prologue: module purge
environments:
  alpha:
    title: Sea ice   # as the teachers call it
    archive: dist/alpha.tar.zst
    groups: [ice, snow]
    resources: {memory: 4G, runtime: "4:00:00"}
    variables: {DATA: /data, N: 3}
    prologue: module load cuda
  beta:
    repository: ./beta
    ref: v1
"""


def test_a_catalog_is_read_with_its_defaults() -> None:
    catalog = parse_catalog(GOOD, path=PATH)
    alpha, beta = catalog.entries
    assert (catalog.title, catalog.default) == ("Choose", "beta")
    assert alpha.title == "Sea ice"
    assert alpha.archive == Path("/site/dist/alpha.tar.zst")
    assert dict(alpha.resources) == {"nprocs": "1", "memory": "4G", "runtime": "4:00:00"}
    assert dict(alpha.variables) == {"DATA": "/data", "N": "3"}
    assert alpha.prologue == "module purge\nmodule load cuda"
    assert beta.title == "beta"
    assert beta.source is not None
    assert (beta.source.repository, beta.source.ref) == ("/site/beta", "v1")


def test_groups_decide_who_may_have_what() -> None:
    catalog = parse_catalog(GOOD, path=PATH)
    assert [one.name for one in catalog.allowed(frozenset())] == ["beta"]
    assert [one.name for one in catalog.allowed(frozenset({"snow"}))] == ["alpha", "beta"]


WRONG = {
    "a list": ("- 1", ":1: is not a catalog"),
    "broken YAML": ("format: 1\nenvironments: [", ":2: is not valid YAML"),
    "two of a name": (
        "format: 1\nenvironments:\n  a: {archive: x}\n  a: {archive: y}\n",
        "is not valid YAML",
    ),
    "another format": ("format: 2\nenvironments: {}", ":1: must be 1"),
    "no environments": ("format: 1\n", "'environments' is lacking"),
    "an unknown key": ("format: 1\nenvironments: {}\ntitel: x", ":3: 'titel' is no key here"),
    "a bad name": ("format: 1\nenvironments:\n  A b: {archive: x}", ":3: 'A b' is no name"),
    "no source": ("format: 1\nenvironments:\n  a: {title: x}", ":3: a: needs either"),
    "two sources": (
        "format: 1\nenvironments:\n  a: {archive: x, repository: y, ref: z}",
        ":3: a: needs either",
    ),
    "no ref": ("format: 1\nenvironments:\n  a: {repository: y}", "go together"),
    "an option for a repository": (
        "format: 1\nenvironments:\n  a: {repository: --upload-pack=x, ref: y}",
        "begins with a dash",
    ),
    "a number for a title": (
        "format: 1\nenvironments:\n  a: {archive: x, title: 1}",
        "must be text",
    ),
    "one group": ("format: 1\nenvironments:\n  a: {archive: x, groups: ice}", "a list of texts"),
    "a resource that decides what runs": (
        "format: 1\nenvironments:\n  a: {archive: x, resources: {prologue: x}}",
        "'prologue' is no key here",
    ),
    "a resource of two lines": (
        'format: 1\nenvironments:\n  a: {archive: x, resources: {options: "a\\nb"}}',
        "is one line",
    ),
    "the Hub's own variable": (
        "format: 1\nenvironments:\n  a: {archive: x, variables: {JUPYTERHUB_API_TOKEN: x}}",
        "is the Hub's own",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(text, path=PATH)
    assert caught.value.message.startswith("/site/catalog.yml:")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "case", [case for case in WRONG if "YAML" not in case and "name" not in case]
)
def test_the_schema_refuses_the_same(case: str) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    assert not validator.is_valid(YAML(typ="safe").load(WRONG[case][0]))


def test_the_schema_takes_what_is_good() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(YAML(typ="safe").load(GOOD), schema())


def test_unknown_keys_have_a_hint() -> None:
    with pytest.raises(CatalogError) as caught:
        parse_catalog("format: 1\nenvironments:\n  a: {archiv: x}", path=PATH)
    assert caught.value.hint == "did you mean 'archive'?"


def test_a_file_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "catalog.yml"
    file.write_text(GOOD)
    file.chmod(0o644)
    assert len(read_catalog(file).entries) == 2
    file.chmod(0o666)
    with pytest.raises(CatalogError, match="everybody may write"):
        read_catalog(file)


def test_editing_keeps_comments_quotes_and_order() -> None:
    added = add_entry(GOOD, "gamma", {"archive": "g.tar.zst", "groups": ["x"]}, path=PATH)
    assert added.startswith(GOOD.rstrip("\n"))
    assert [one.name for one in parse_catalog(added, path=PATH).entries] == [
        "alpha",
        "beta",
        "gamma",
    ]
    assert remove_entry(added, "gamma", path=PATH) == GOOD


def test_an_entry_is_replaced_only_on_request() -> None:
    with pytest.raises(CatalogError, match="already"):
        add_entry(GOOD, "beta", {"archive": "b.tar.zst"}, path=PATH)
    changed = add_entry(GOOD, "beta", {"archive": "b.tar.zst"}, path=PATH, replace=True)
    beta = parse_catalog(changed, path=PATH).entries[1]
    assert beta.source is None
    assert beta.archive == Path("/site/b.tar.zst")


def test_removing_the_default_leaves_a_catalog() -> None:
    left = parse_catalog(remove_entry(GOOD, "beta", path=PATH), path=PATH)
    assert left.default is None
    with pytest.raises(CatalogError, match="no environment 'delta'"):
        remove_entry(GOOD, "delta", path=PATH)


def test_a_new_catalog_is_made_of_its_first_entry() -> None:
    text = add_entry("", "alpha", {"archive": "a.tar.zst"}, path=PATH)
    assert text == "format: 1\nenvironments:\n  alpha:\n    archive: a.tar.zst\n"
