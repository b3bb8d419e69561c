from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from reespack.comparing import FileDifference
from reespack.errors import PackError, VerificationError
from reespack.manifest import (
    archive_of,
    kernelspecs_of,
    make_manifest,
    manifest_bytes,
    parse_manifest,
    schema,
    summarize,
    with_archive,
    with_differing,
)
from reespack.manifest.addresses import public_url
from reespack.model import (
    Detection,
    EnvironmentSpec,
    FileVerdict,
    Note,
    Origin,
    Repository,
    Target,
    Verdict,
)
from reespack.products import (
    Archive,
    FileChange,
    Kernelspec,
    Lock,
    LockedConda,
    LockedPip,
    PlatformLock,
    Prefix,
)

if TYPE_CHECKING:
    from pathlib import Path

SHA = "0123456789abcdef" * 4
MD5 = "0123456789abcdef" * 2


@dataclass(frozen=True)
class Contents:
    unpacked_size: int = 2_500_000_000
    files: int = 20_000
    tree_digest: str = SHA
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Build:
    """A prefix with its records on disk, and all that a manifest is made from."""

    prefix: Prefix
    arguments: dict[str, Any]

    def manifest(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any argument
        return make_manifest(**{**self.arguments, **changes})


def record(prefix: Path, name: str, version: str, *, files: tuple[str, ...] = ()) -> None:
    host = "https://user:secret@conda.example.org/t/tk-123/main/linux-64"
    content = {
        "name": name,
        "version": version,
        "build": "0",
        "subdir": "linux-64",
        "channel": "https://user:secret@conda.example.org/t/tk-123/main",
        "url": f"{host}/{name}-{version}-0.conda?token=secret",
        "sha256": SHA,
        "md5": MD5,
        "size": 12,
        "license": "MIT",
        "files": list(files),
    }
    (prefix / "conda-meta").mkdir(parents=True, exist_ok=True)
    (prefix / "conda-meta" / f"{name}-{version}-0.json").write_text(json.dumps(content))


def distribution(prefix: Path, name: str, version: str, *lines: str, direct: str = "") -> str:
    below = f"lib/python3.12/site-packages/{name}-{version}.dist-info"
    folder = prefix / below
    folder.mkdir(parents=True)
    head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines]
    (folder / "METADATA").write_text("\n".join(head) + "\n\nA description.\n")
    if direct:
        (folder / "direct_url.json").write_text(json.dumps({"url": direct}))
    return f"{below}/METADATA"


@pytest.fixture
def build(tmp_path: Path) -> Build:
    path = tmp_path / "env"
    mine = distribution(path, "six", "1.17.0")
    record(path, "six", "1.17.0", files=(mine,))
    record(path, "python", "3.12.1")
    record(path, "late", "1.0")
    distribution(path, "Toolz", "1.0", "License-Expression: BSD-3-Clause")
    distribution(path, "local", "0.1", "Classifier: License :: OSI Approved :: MIT License")
    distribution(path, "sneaked", "2", "License: a\n  b", direct="https://me:pw@x.org/s.git")

    def conda(name: str, version: str) -> LockedConda:
        return LockedConda(name=name, version=version, build="0", url="u", sha256=SHA, md5=MD5)

    toolz = LockedPip(
        name="toolz",
        version="1.0",
        url="https://u:p@pypi.example.org/toolz.tar.gz",
        kind="sdist",
        sha256="a" * 64,
        overrides=True,
    )
    local = LockedPip(name="local", version="0.1", url="sub/local", kind="project")
    pinned = PlatformLock(
        platform="linux-64",
        conda=(conda("six", "1.17.0"), conda("python", "3.12.1")),
        pip=(toolz, local),
    )
    prefix = Prefix(
        path=path,
        lock=pinned,
        wheels=(replace(toolz, sha256="b" * 64), replace(local, sha256="c" * 64)),
        changes=(
            FileChange(path="share/b", change="added", by="postBuild"),
            FileChange(path="lib/a", change="changed", by="pip", package="six"),
        ),
        leftovers=(".cache/x",),
        notes=(Note(message=f"{path}/bin/x is odd"),),
    )
    repository = Repository(
        root=tmp_path / "repo",
        top=tmp_path / "repo",
        name="demo",
        source="https://token@github.com/o/demo",
        url="https://token@github.com/o/demo",
        ref="main",
        commit="f" * 40,
        dirty=True,
    )
    detection = Detection(
        repository=repository,
        target=Target(platform="linux-64"),
        files=(
            FileVerdict(
                path="requirements.txt",
                verdict=Verdict.IGNORED,
                reason="environment.yml counts",
                buildpack="requirements",
                sha256=SHA,
            ),
            FileVerdict(
                path="environment.yml",
                verdict=Verdict.USED,
                reason="",
                buildpack="conda",
                sha256=SHA,
            ),
        ),
        contributions=(),
        buildpacks=(("conda", "1.0"), ("requirements", "1.0")),
        notes=(Note(message="twice", origin=Origin(file="environment.yml", line=3)),),
    )
    spec = EnvironmentSpec(
        name="demo",
        platform="linux-64",
        channels=("conda-forge", "file:///home/me/channel/"),
        variables=(("B", "2"), ("A", "1")),
        start="start",
        notes=detection.notes,
    )
    lock = Lock(
        text="",
        digest=SHA,
        platforms=(pinned,),
        virtual_packages=(("linux-64", (("__glibc", "2.28", "0"),)),),
    )
    kernelspecs = (
        Kernelspec(name="demo", display_name="demo (Python 3)", language="python", path="share/x"),
    )
    arguments = {
        "key": "0123456789ab",
        "detection": detection,
        "spec": spec,
        "lock": lock,
        "prefix": prefix,
        "kernelspecs": kernelspecs,
        "contents": Contents(),
    }
    return Build(prefix, arguments)


def archive(path: Path) -> Archive:
    return Archive(
        path=path,
        format="tar.zst",
        sha256=SHA,
        size=5_000,
        unpacked_size=2_500_000_000,
        files=20_000,
        tree_digest=SHA,
    )


# --- the schema --------------------------------------------------------------------------------


def test_the_schema_is_valid_and_the_manifest_agrees(build: Build, tmp_path: Path) -> None:
    checker = jsonschema.Draft202012Validator
    checker.check_schema(schema())
    manifest = build.manifest()
    checker(schema()).validate(manifest)
    checker(schema()).validate(with_archive(manifest, archive(tmp_path / "demo.tar.zst")))
    manifest["files"][0]["verdict"] = "maybe"
    assert not checker(schema()).is_valid(manifest)


def described(part: dict[str, Any], path: str = "") -> set[str]:
    """Return the paths of all fields that the schema describes, and demand that it does so."""
    found = set()
    for name, field in part.get("properties", {}).items():
        assert field.get("description"), f"{path}/{name} is not described"
        found |= {f"{path}/{name}", *described(field, f"{path}/{name}")}
        found |= described(field.get("items", {}), f"{path}/{name}")
    return found


def present(value: Any, path: str = "") -> set[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        return set().union(*(present(item, path) for item in value))
    if not isinstance(value, dict) or path == "/variables":
        return set()
    return set().union(*({f"{path}/{k}", *present(v, f"{path}/{k}")} for k, v in value.items()))


def test_every_field_is_described_and_every_described_field_is_there(
    build: Build, tmp_path: Path
) -> None:
    lost = FileDifference(path="share/x", what="content", first=None, second=None, by="postBuild")
    checked = with_differing(build.manifest(), [lost])
    manifest = with_archive(checked, archive(tmp_path / "demo.tar.zst"))
    assert present(manifest) == described(schema())


# --- what is in it -----------------------------------------------------------------------------


def test_no_secret_and_no_place_of_this_machine_gets_in(build: Build, tmp_path: Path) -> None:
    text = manifest_bytes(build.manifest()).decode()
    for secret in ("secret", "token@", "tk-123", "me:pw", "u:p@", str(tmp_path), "/home/me"):
        assert secret not in text


def test_packages_are_what_is_installed_and_say_who_put_them_there(build: Build) -> None:
    manifest = build.manifest()
    assert [(one["name"], one["by"]) for one in manifest["conda"]] == [
        ("late", "postBuild"),
        ("python", "lock"),
        ("six", "lock"),
    ]
    assert manifest["conda"][1] == {
        "name": "python",
        "version": "3.12.1",
        "build": "0",
        "subdir": "linux-64",
        "channel": "https://conda.example.org/main",
        "url": "https://conda.example.org/main/linux-64/python-3.12.1-0.conda",
        "sha256": SHA,
        "md5": MD5,
        "size": 12,
        "license": "MIT",
        "by": "lock",
    }
    pip = {one["name"]: one for one in manifest["pip"]}
    assert sorted(pip) == ["local", "sneaked", "toolz"]
    assert pip["toolz"] == {
        "name": "toolz",
        "version": "1.0",
        "kind": "sdist",
        "url": "https://pypi.example.org/toolz.tar.gz",
        "sha256": "a" * 64,
        "wheel_sha256": "b" * 64,
        "license": "BSD-3-Clause",
        "overrides": True,
        "by": "lock",
    }
    assert pip["local"]["url"] == "sub/local"
    assert pip["local"]["license"] == "MIT License"
    assert pip["sneaked"]["by"] == "postBuild"
    assert pip["sneaked"]["url"] == "https://x.org/s.git"
    assert pip["sneaked"]["license"] is None


def test_a_version_that_postbuild_put_in_place_of_the_locks_is_postbuilds(build: Build) -> None:
    site = build.prefix.path / "lib/python3.12/site-packages"
    (site / "Toolz-1.0.dist-info").rename(site / "away")
    distribution(build.prefix.path, "toolz", "1.1")
    pip = {one["name"]: one for one in build.manifest()["pip"]}
    assert (pip["toolz"]["version"], pip["toolz"]["by"]) == ("1.1", "postBuild")
    assert pip["toolz"]["sha256"] is None


def test_the_link_for_old_condas_brings_nothing_twice(build: Build) -> None:
    pip = build.manifest()["pip"]
    (build.prefix.path / "lib/python3.1").symlink_to("python3.12")
    assert build.manifest()["pip"] == pip


def test_notes_stand_once_and_without_the_build_folder(build: Build) -> None:
    notes = build.manifest()["notes"]
    assert [note["message"] for note in notes] == ["twice", "PREFIX/bin/x is odd"]
    assert notes[0]["origin"] == "environment.yml:3"


def test_a_folder_without_a_remote_has_no_address(build: Build, tmp_path: Path) -> None:
    detection = build.arguments["detection"]
    local = replace(detection.repository, url=None, source=str(tmp_path), commit=None, dirty=False)
    manifest = build.manifest(detection=replace(detection, repository=local))
    assert manifest["repository"]["url"] is None


def test_the_same_input_gives_the_same_bytes(build: Build) -> None:
    first = manifest_bytes(build.manifest())
    shuffled = replace(build.prefix, changes=build.prefix.changes[::-1])
    assert manifest_bytes(build.manifest(prefix=shuffled)) == first
    assert first.endswith(b"}\n")


def test_a_broken_record_is_named(build: Build) -> None:
    (build.prefix.path / "conda-meta" / "bad-1-0.json").write_text('{"name": "bad"}')
    with pytest.raises(PackError, match=r"conda-meta/bad-1-0\.json"):
        build.manifest()


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("conda-forge", "conda-forge"),
        ("https://a:b@x.org/c?sig=1#subdirectory=d", "https://x.org/c#subdirectory=d"),
        ("https://TOKEN@x.org/c", "https://x.org/c"),
        ("https://x.org:8443/t/abc-1/c/noarch", "https://x.org:8443/c/noarch"),
        ("https://x.org/t/abc-1", "https://x.org"),
        ("https://x.org/cat/t", "https://x.org/cat/t"),
        ("git+https://u:p@x.org/r.git@0123", "git+https://x.org/r.git@0123"),
        ("ssh://git@x.org/r.git", "ssh://git@x.org/r.git"),
        ("git+ssh://git:pw@x.org/r.git", "git+ssh://git@x.org/r.git"),
        ("git@github.com:o/r.git", "git@github.com:o/r.git"),
        ("git:pw@github.com:o/r.git", "git@github.com:o/r.git"),
        ("file:///home/me/channel/", "file:channel"),
        ("git+file:///home/me/r#subdirectory=x", "git+file:r#subdirectory=x"),
        ("/home/me/channel", "file:channel"),
    ],
)
def test_addresses_lose_what_is_nobodys_business(url: str, public: str) -> None:
    assert public_url(url) == public


def test_of_a_local_channels_package_the_end_stays() -> None:
    assert public_url("file:///a/b/ch/noarch/x.conda", keep=3) == "file:ch/noarch/x.conda"


# --- bytes and back ----------------------------------------------------------------------------


def test_there_and_back(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "demo.tar.zst"
    manifest = with_archive(build.manifest(), archive(path))
    again = parse_manifest(manifest_bytes(manifest))
    assert again == manifest
    assert archive_of(again, path) == archive(path)
    assert kernelspecs_of(again) == build.arguments["kernelspecs"]


def test_the_embedded_manifest_knows_no_archive(build: Build, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="which archive"):
        archive_of(build.manifest(), tmp_path)


def test_names_that_are_not_unicode_survive(build: Build) -> None:
    manifest = build.manifest(prefix=replace(build.prefix, leftovers=("caf\udce9", "ü")))
    assert parse_manifest(manifest_bytes(manifest))["leftovers"] == ["caf\udce9", "ü"]


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"\xff\xfe{", "not JSON", "damaged"),
        (b"[]", "format_version None", "not made by reespack"),
        (b"{}", "format_version None", "not made by reespack"),
        (b'{"format_version": 2}', "format_version 2", "upgrade"),
        (b'{"format_version": 1}', "has no .*key", "damaged"),
    ],
)
def test_what_is_no_manifest_is_refused_with_a_hint(
    content: bytes, message: str, hint: str
) -> None:
    with pytest.raises(VerificationError, match=message) as caught:
        parse_manifest(content)
    assert hint in (caught.value.hint or "")


# --- for people --------------------------------------------------------------------------------


def test_the_summary_shows_what_matters(build: Build, tmp_path: Path) -> None:
    manifest = with_archive(build.manifest(), archive(tmp_path / "demo.tar.zst"))
    sections = {section.title: section for section in summarize(manifest)}
    facts = dict(sections["demo"].facts)
    assert facts["archive"] == "demo.tar.zst (5 kB)"
    assert facts["unpacked"] == "2.5 GB in 20000 files"
    assert facts["buildpacks"] == "conda 1.0"
    assert facts["assumes"] == "__glibc=2.28"
    assert dict(sections["Repository"].facts)["commit"].endswith("with uncommitted changes")
    assert ("requirements.txt", "ignored", "environment.yml counts") in sections["Files"].rows
    assert ("toolz", "1.0", "sdist, in place of conda's") in sections["pip packages"].rows
    assert ("late", "1.0", "0", "https://conda.example.org/main, by postBuild") in sections[
        "conda packages"
    ].rows
    for section in sections.values():
        assert all(len(row) == len(section.columns) for row in section.rows)


def test_the_summary_of_the_embedded_manifest_has_no_empty_parts(build: Build) -> None:
    bare = replace(build.prefix, changes=(), leftovers=())
    titles = [section.title for section in summarize(build.manifest(prefix=bare))]
    assert "Changed files" not in titles
    assert titles[0] == "demo"


def test_a_long_list_is_cut_and_says_so(build: Build) -> None:
    changes = tuple(
        FileChange(path=f"f{number:03}", change="added", by="postBuild") for number in range(50)
    )
    manifest = build.manifest(prefix=replace(build.prefix, changes=changes))
    (section,) = [one for one in summarize(manifest) if one.title == "Changed files"]
    assert len(section.rows) + section.omitted == 50
    assert section.omitted > 0
