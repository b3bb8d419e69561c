"""The prefix phase with real packages: rattler, uv, pip and hooks on a real Python."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rattler
from rattler.index import index_fs

from reespack.channels import ChannelSettings
from reespack.errors import HashMismatchError, InstallError, PostBuildError
from reespack.files import sha256_file, walk
from reespack.model import ADDED, CondaRequirement, EnvironmentSpec, PipRequirement, Repository
from reespack.package_index import PackageIndex
from reespack.prefix import make_prefix
from reespack.products import FileChange, LockedConda, LockedPip, PlatformLock, Prefix
from reespack.uv import run_uv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PLATFORM = str(rattler.Subdir.current())
NO_FLOCK = Path(__file__).parents[1] / "no_flock.c"
COMMIT_TIME = 1_700_000_000
PLACEHOLDER = "/" + "placeholder_" * 20
PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "mine"
version = "0.1"
"""


# --- channels and locks ------------------------------------------------------------------------


def conda_package(
    channel: Path, name: str, files: Mapping[str, bytes], *, depends: Sequence[str] = ()
) -> None:
    """Write a noarch package with these files into a channel; those below bin are executable."""
    index = {
        "name": name, "version": "1.0", "build": "0", "build_number": 0, "subdir": "noarch",
        "noarch": "generic", "depends": list(depends), "license": "MIT",
        "timestamp": 1_600_000_000_000,
    }  # fmt: skip
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
            **(
                {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
                if PLACEHOLDER.encode() in content
                else {}
            ),
        }
        for path, content in files.items()
    ]
    info = {"index": index, "paths": {"paths": paths, "paths_version": 1}, "about": {}}
    members = {f"info/{key}.json": json.dumps(value).encode() for key, value in info.items()}
    target = channel / "noarch" / f"{name}-1.0-0.tar.bz2"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:bz2") as archive:
        for path, content in {**members, **files}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755 if path.startswith("bin/") else 0o600
            archive.addfile(member, io.BytesIO(content))
    asyncio.run(index_fs(channel, force=True))


def solve(channels: Sequence[Path], specs: Sequence[str]) -> list[rattler.RepoDataRecord]:
    async def ask() -> list[rattler.RepoDataRecord]:
        return await rattler.solve(
            sources=[rattler.Channel(channel.as_uri()) for channel in channels],
            specs=list(specs),
            platforms=[PLATFORM, "noarch"],
            virtual_packages=rattler.VirtualPackage.detect(),
        )

    return asyncio.run(ask())


def locked(record: rattler.RepoDataRecord) -> LockedConda:
    assert record.sha256 is not None
    return LockedConda(
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        url=record.url,
        sha256=record.sha256.hex(),
        md5=record.md5.hex() if record.md5 else None,
        depends=tuple(record.depends),
    )


@functools.cache
def from_index(requirement: str, python: str, kind: str = "wheel") -> LockedPip:
    """Return the wheel or the sdist that the index has for `name==version`."""
    source = Path(os.environ["PYTEST_REQUIREMENTS"])
    source.write_text(requirement + "\n")
    done = run_uv(
        ["pip", "compile", "--no-deps", "--no-python-downloads", "--quiet", "--python-version",
         python, "--format", "pylock.toml", source],
        index=PackageIndex(),
    )  # fmt: skip
    assert done.ok, done.tail
    (package,) = tomllib.loads(done.stdout)["packages"]
    file = package["wheels"][0] if kind == "wheel" else package["sdist"]
    url = file.get("url") or Path(file["path"]).resolve().as_uri()
    return LockedPip(
        name=package["name"],
        version=package["version"],
        url=url,
        kind="wheel" if kind == "wheel" else "sdist",
        sha256=file["hashes"]["sha256"],
    )


class Bench:
    """A folder to build in, with a repository, and a cache that all tests share."""

    def __init__(self, folder: Path, channel: Path, cache: Path, python: str) -> None:
        self.folder = folder
        self.channel = channel
        self.handmade = folder / "handmade"
        self.cache = cache
        self.python = python
        self.top = folder / "repo"
        self.top.mkdir()
        self.path = folder / "env"

    def conda(self, *specs: str) -> tuple[LockedConda, ...]:
        channels = [self.channel, *([self.handmade] if self.handmade.exists() else [])]
        return tuple(locked(record) for record in solve(channels, specs))

    def with_python(self, *specs: str) -> tuple[LockedConda, ...]:
        return self.conda(f"python {self.python}.*", "pip", *specs)

    def write(self, path: str, content: str) -> None:
        (self.top / path).parent.mkdir(parents=True, exist_ok=True)
        (self.top / path).write_text(textwrap.dedent(content))

    def project(self, folder: str = "mine") -> None:
        self.write(f"{folder}/pyproject.toml", PYPROJECT)
        self.write(f"{folder}/mine.py", "answer = 42\n")

    def make(  # noqa: PLR0913 - each test says what matters to it
        self,
        conda: Sequence[LockedConda],
        pip: Sequence[LockedPip] = (),
        *,
        post_build: str | None = None,
        variables: tuple[tuple[str, str], ...] = (),
        requested: Sequence[str] = (),
        name: str = "env",
        offline: bool = False,
        cache: Path | None = None,
    ) -> Prefix:
        if post_build is not None:
            self.write("postBuild", post_build)
        cache = cache or self.cache
        self.path = self.folder / name
        spec = EnvironmentSpec(
            name="bench",
            platform=PLATFORM,
            channels=(self.channel.as_uri(),),
            conda=tuple(
                CondaRequirement(spec=one, name=one.split()[0], origin=ADDED) for one in requested
            ),
            pip=tuple(PipRequirement(text=one.name, name=one.name, origin=ADDED) for one in pip),
            variables=variables,
            post_build=None if post_build is None else "postBuild",
        )
        return make_prefix(
            spec,
            PlatformLock(platform=PLATFORM, conda=tuple(conda), pip=tuple(pip)),
            path=self.path,
            repository=Repository(
                root=self.top, top=self.top, name="repo", source="repo", commit_time=COMMIT_TIME
            ),
            channels=ChannelSettings(cache=cache, offline=offline),
            index=PackageIndex(cache=cache / "uv", offline=offline),
            cache=cache,
            timeout=300,
            threads=2,
        )

    def run(self, *args: str) -> str:
        """Run a program of the environment and return what it prints."""
        program = [str(self.path / "bin" / args[0]), *args[1:]]
        environ = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    @property
    def site(self) -> Path:
        return self.path / "lib" / f"python{self.python}" / "site-packages"

    def records(self) -> dict[str, dict[str, Any]]:
        files = (self.path / "conda-meta").glob("*.json")
        return {one["name"]: one for one in (json.loads(file.read_text()) for file in files)}


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    return {
        path: sha256_file(folder / path)
        for path, entry in walk(folder)
        if entry.is_file(follow_symlinks=False)
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(
    tmp_path: Path,
    wheelhouse: Path,
    cache: Path,
    python_version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    monkeypatch.setenv("PYTEST_REQUIREMENTS", str(tmp_path / "requirements.in"))
    return Bench(tmp_path, wheelhouse, cache, python_version)


# --- the conda half ----------------------------------------------------------------------------


def test_a_lock_alone_gives_what_a_solve_gives(bench: Bench) -> None:
    specs = [f"python {bench.python}.*", "ipykernel"]
    known = {
        one.name.normalized: json.loads(one.to_json()) for one in solve([bench.channel], specs)
    }
    before = os.umask(0o077)
    try:
        bench.make(bench.conda(*specs), requested=specs)
    finally:
        os.umask(before)

    made = bench.records()
    assert set(made) == set(known)
    for name, record in known.items():
        # A lock knows neither; conda can do without.
        expected = {k: v for k, v in record.items() if k not in {"size", "indexed_timestamp"}}
        assert {key: made[name].get(key) for key in expected} == expected
    assert made["python"]["requested_specs"] == [specs[0]]
    assert any(one.get("noarch") == "python" for one in made.values())
    assert any("prefix_placeholder" in one for one in made["python"]["paths_data"]["paths"])

    history = (bench.path / "conda-meta/history").read_text().splitlines()
    assert history[0] == "==> 2023-11-14 22:13:20 <=="
    assert history[-1] == f"# update specs: {json.dumps(specs)}"
    assert len([line for line in history if line.startswith("+")]) == len(known)

    bench.run("jupyter", "kernelspec", "list")  # the entry point of a noarch package
    assert not (bench.path / "CACHEDIR.TAG").exists()
    links = [path.readlink() for path in bench.path.rglob("*") if path.is_symlink()]
    assert links
    assert not [link for link in links if link.is_absolute()]


def require_copies(root: Path) -> None:
    """Everybody may read it, and nothing is shared with the cache."""
    for path, entry in walk(root):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            assert stat.S_IMODE(status.st_mode) == 0o755, path
        elif stat.S_ISREG(status.st_mode):
            assert stat.S_IMODE(status.st_mode) in {0o644, 0o755}, path
            assert status.st_nlink == 1, path


def test_the_cache_does_without_the_channel(bench: Bench) -> None:
    conda = bench.with_python()
    fresh = bench.folder / "fresh"
    bench.make(conda, cache=fresh)
    fetched = contents(bench.path / "conda-meta")
    shutil.rmtree(bench.path)
    bench.make(conda, cache=fresh)
    assert contents(bench.path / "conda-meta") == fetched
    gone = [
        dataclasses.replace(one, url=one.url.replace("file://", "https://gone.invalid"))
        for one in conda
    ]
    bench.make(gone, name="second", offline=True, cache=fresh)
    assert bench.run("python", "-c", "import pip; print('there')") == "there"
    urls = {record["url"] for record in bench.records().values()}
    assert urls == {one.url for one in gone}
    with pytest.raises(InstallError, match=r"offline.*: pip, python"):
        bench.make(gone, name="third", offline=True, cache=bench.folder / "empty")


def test_another_package_than_the_locked_one_is_refused_now_and_later(bench: Bench) -> None:
    conda_package(bench.handmade, "tool", {"share/tool": b"good"})
    (good,) = bench.conda("tool")
    wrong = dataclasses.replace(good, sha256="0" * 64)
    for name in ("first", "second"):
        with pytest.raises(
            HashMismatchError, match=f"tool .*expected.* 0{{64}}, got {good.sha256}"
        ):
            bench.make([wrong], name=name)
    bench.make([good], name="third")
    # The package was built anew, with the same name, version and build.
    conda_package(bench.handmade, "tool", {"share/tool": b"better"})
    (better,) = bench.conda("tool")
    bench.make([better], name="fourth")
    assert (bench.path / "share/tool").read_text() == "better"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_downloads_are_checked_and_missing_ones_named(bench: Bench) -> None:
    conda_package(bench.handmade, "remote", {"share/remote": b"good"})
    (here,) = bench.conda("remote")
    with served(bench.handmade) as url:
        good = dataclasses.replace(here, url=f"{url}/noarch/remote-1.0-0.tar.bz2")
        wrong = dataclasses.replace(good, sha256="0" * 64)
        for name in ("first", "second"):
            with pytest.raises(HashMismatchError, match=f"remote .*got {here.sha256}"):
                bench.make([wrong], name=name)
        gone = dataclasses.replace(good, version="2.0", url=f"{url}/noarch/remote-2.0-0.tar.bz2")
        with pytest.raises(InstallError, match=r"remote cannot be fetched: .*404"):
            bench.make([gone], name="third")
        bench.make([good], name="fourth")
    assert (bench.path / "share/remote").read_text() == "good"


def test_what_has_come_before_a_failure_is_kept(bench: Bench) -> None:
    conda_package(bench.handmade, "early", {"share/early": b"early"})
    (early,) = bench.conda("early")
    cache = bench.folder / "fresh"
    gone = dataclasses.replace(early, name="gone", url="http://127.0.0.1:9/noarch/gone-1.0-0.conda")
    with pytest.raises(InstallError, match="package gone cannot be fetched"):
        bench.make([early, gone], cache=cache)
    shutil.rmtree(bench.handmade)
    bench.make([early], name="second", offline=True, cache=cache)
    assert (bench.path / "share/early").read_text() == "early"


def test_post_link_scripts_run_as_with_conda(bench: Bench) -> None:
    script = b'#!/bin/bash\necho "$PKG_NAME" > "$PREFIX/share/linked"\n'
    conda_package(bench.handmade, "linker", {"bin/.linker-post-link.sh": script, "share/x": b"x"})
    bench.make(bench.conda("linker"))
    assert (bench.path / "share/linked").read_text() == "linker\n"


def test_a_post_link_script_writes_into_copies(bench: Bench) -> None:
    script = b'#!/bin/bash\necho more >> "$PREFIX/share/x"\n'
    conda_package(bench.handmade, "writer", {"bin/.writer-post-link.sh": script, "share/x": b"x"})
    conda = bench.conda("writer")
    for name in ("not in the cache", "in the cache"):
        bench.make(conda, name=name)
        assert (bench.path / "share/x").read_text() == "xmore\n"
        assert (bench.cache / "packages/writer-1.0-0/share/x").read_text() == "x"


def test_where_nothing_runs_files_are_links_and_the_rest_is_the_same(bench: Bench) -> None:
    conda = bench.with_python("ipykernel")
    six = from_index("six==1.17.0", bench.python)
    bench.make(conda, [six], name="links")
    linked, links = contents(bench.path), bench.path
    bench.make(conda, [six], name="copie", post_build="#!/bin/sh\n")
    copied = contents(bench.path)
    names = {path for path in linked if (links / path).stat().st_nlink > 1}
    assert len(names) > len(linked) // 2
    assert not [path for path in names if "-packages/six" in path or path.startswith("conda-meta/")]
    differ = {
        path for path in linked.keys() | copied.keys() if linked.get(path) != copied.get(path)
    }
    # Records name the folder and say how files were linked; scripts start with the folder's path.
    assert {path for path in differ if not path.startswith(("conda-meta/", "bin/"))} <= {
        path for path in differ if str(links).encode() in (links / path).read_bytes()
    }


def test_headers_of_a_wheel_lie_where_they_would_without_links(bench: Bench) -> None:
    name = "heads-1.0.dist-info"
    files = {
        "heads-1.0.data/headers/heads.h": b"#define HEADS 1\n",
        f"{name}/METADATA": b"Metadata-Version: 2.1\nName: heads\nVersion: 1.0\n",
        f"{name}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [*(f"{path},," for path in files), f"{name}/RECORD,,"]
    wheel = bench.top / "heads-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in {**files, f"{name}/RECORD": "\n".join(rows).encode()}.items():
            archive.writestr(path, content)
    package = LockedPip(
        name="heads", version="1.0", url=wheel.name, kind="wheel", sha256=sha256_file(wheel)
    )
    bench.make(bench.with_python(), [package])
    (header,) = bench.path.rglob("heads.h")
    assert header.parent.parent == bench.path / "include" / f"python{bench.python}"


def test_a_failing_post_link_script_is_an_error(bench: Bench) -> None:
    conda_package(bench.handmade, "broken", {"bin/.broken-post-link.sh": b"#!/bin/sh\nexit 1\n"})
    with pytest.raises(InstallError, match="post-link script of broken failed"):
        bench.make(bench.conda("broken"))


def test_it_installs_where_the_cache_cannot_be_locked(bench: Bench) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = bench.folder / "no_flock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, NO_FLOCK, "-ldl"], check=True)
    conda_package(bench.handmade, "tool", {"share/tool": b"good"})
    (tool,) = bench.conda("tool")
    lustre, local = bench.folder / "lustre", bench.folder / "local"
    lustre.mkdir()
    local.mkdir()
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from reespack.channels import ChannelSettings
        from reespack.model import EnvironmentSpec, Repository
        from reespack.products import LockedConda, PlatformLock
        from reespack.prefix import make_prefix
        from reespack.package_index import PackageIndex

        cache, path = Path({str(lustre)!r}), Path({str(lustre)!r}, "env")
        make_prefix(
            EnvironmentSpec(name="x", platform={PLATFORM!r}, channels=()),
            PlatformLock(platform={PLATFORM!r}, conda=(LockedConda(
                name="tool", version="1.0", build="0", url={tool.url!r},
                sha256={tool.sha256!r}, md5=None),)),
            path=path, repository=Repository(root=path, top=path, name="x", source="x"),
            channels=ChannelSettings(cache=cache), index=PackageIndex(), cache=cache,
            timeout=None, threads=1)
    """)
    environ = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "NO_FLOCK": str(lustre),
        "TMPDIR": str(local),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert (lustre / "packages/tool-1.0-0/share/tool").read_text() == "good"
    assert (lustre / "env/share/tool").read_text() == "good"


# --- the pip half ------------------------------------------------------------------------------


def test_wheels_are_installed_as_pip_would_from_an_index(bench: Bench) -> None:
    six = from_index("six==1.17.0", bench.python)
    toolz = from_index("toolz==1.0.0", bench.python)
    conda_package(
        bench.handmade,
        "managed",
        {f"lib/python{bench.python}/EXTERNALLY-MANAGED": b"[externally-managed]\nError=no\n"},
    )
    prefix = bench.make(bench.with_python("managed"), [six, toolz])
    assert prefix.wheels == (six, toolz)
    assert prefix.changes == ()
    assert bench.run("python", "-c", "import six, toolz; print(six.__version__)") == "1.17.0"
    metadata = bench.site / "six-1.17.0.dist-info"
    assert (metadata / "INSTALLER").read_text() == "uv"
    assert not (metadata / "direct_url.json").exists()
    listed = bench.run("python", "-m", "pip", "freeze").splitlines()
    assert "six==1.17.0" in listed
    for line in (metadata / "RECORD").read_text().splitlines():
        assert (bench.site / line.split(",")[0]).exists()
    assert "direct_url" not in (metadata / "RECORD").read_text()


@pytest.mark.parametrize("known", [True, False])
def test_an_overriding_distribution_takes_the_place_of_condas(bench: Bench, known: bool) -> None:
    attrs = dataclasses.replace(from_index("attrs==24.2.0", bench.python), overrides=known)
    prefix = bench.make(bench.with_python("attrs"), [attrs])
    version = "import importlib.metadata as m; print(m.version('attrs'))"
    assert bench.run("python", "-c", version) == "24.2.0"
    assert [one.name for one in bench.site.glob("attrs-*")] == ["attrs-24.2.0.dist-info"]
    record = bench.records()["attrs"]
    assert record["version"] != "24.2.0"
    changed = {(one.change, one.path) for one in prefix.changes}
    site = bench.site.relative_to(bench.path).as_posix()
    old = f"{site}/attrs-{record['version']}.dist-info/METADATA"
    assert ("deleted", old) in changed
    assert any(change == "changed" for change, _ in changed)
    assert {(one.by, one.package) for one in prefix.changes} == {("pip", "attrs")}
    assert {path for _, path in changed} <= set(record["files"])


def test_a_wheel_that_overwrites_a_conda_file_is_reported(bench: Bench) -> None:
    path = f"lib/python{bench.python}/site-packages/six.py"
    conda_package(bench.handmade, "clobber", {path: b"conda's\n"})
    kept = contents(bench.cache / "packages") if (bench.cache / "packages").exists() else {}
    prefix = bench.make(bench.with_python("clobber"), [from_index("six==1.17.0", bench.python)])
    assert prefix.changes == (FileChange(path=path, change="changed", by="pip", package="six"),)
    cached = bench.cache / "packages/clobber-1.0-0" / path
    assert cached.read_text() == "conda's\n"
    now = contents(bench.cache / "packages")
    assert {name: now[name] for name in kept if "/info/" in name} == {
        name: digest for name, digest in kept.items() if "/info/" in name
    }


def test_a_wheel_with_another_hash_is_refused(bench: Bench) -> None:
    six = from_index("six==1.17.0", bench.python)
    wrong = dataclasses.replace(six, sha256="0" * 64)
    expected = f"six is not .*expected sha256:0{{64}}, got sha256:{six.sha256}"
    with pytest.raises(HashMismatchError, match=expected):
        bench.make(bench.with_python(), [wrong])


def test_a_url_that_is_gone_is_looked_for_in_the_index_by_its_hash(bench: Bench) -> None:
    six = from_index("six==1.17.0", bench.python)
    gone = dataclasses.replace(six, url=f"http://127.0.0.1:9/{six.url.rsplit('/', 1)[1]}")
    bench.make(bench.with_python(), [gone])
    assert bench.run("python", "-c", "import six; print(six.__version__)") == "1.17.0"


def test_sources_become_wheels_the_same_each_time_and_leave_no_trace(bench: Bench) -> None:
    bench.project()
    sources = [
        from_index("toolz==1.0.0", bench.python, "sdist"),
        LockedPip(name="mine", version="0.1", url="mine", kind="project"),
    ]
    before = contents(bench.top)
    conda = bench.with_python()
    first = bench.make(conda, sources)
    assert bench.run("python", "-c", "import mine, toolz; print(mine.answer)") == "42"
    assert "toolz==1.0.0" in bench.run("python", "-m", "pip", "freeze").splitlines()
    assert "mine==0.1" in bench.run("python", "-m", "pip", "freeze").splitlines()
    assert contents(bench.top) == before
    second = bench.make(conda, sources, name="second")
    assert first.wheels == second.wheels
    assert all(one.sha256 and one.sha256 != two.sha256
               for one, two in zip(first.wheels, sources, strict=True))  # fmt: skip
    assert sorted(path.name for path in bench.folder.iterdir()) == [
        "env",
        "repo",
        "requirements.in",
        "second",
    ]


def test_a_project_that_cannot_be_built_is_an_error_with_its_output(bench: Bench) -> None:
    bench.write("mine/setup.py", "raise SystemExit('not today')\n")
    mine = LockedPip(name="mine", version="0.1", url="mine", kind="project")
    with pytest.raises(InstallError, match=r"no wheel could be built of mine 0\.1") as caught:
        bench.make(bench.with_python(), [mine])
    assert "not today" in str(caught.value.detail)


def test_a_git_source_keeps_its_origin(bench: Bench) -> None:
    bench.project("origin")
    origin = bench.top / "origin"
    git = ["git", "-C", str(origin), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    url = f"git+{origin.as_uri()}@{commit}"
    bench.make(bench.with_python(), [LockedPip(name="mine", version="0.1", url=url, kind="git")])
    said = json.loads((bench.site / "mine-0.1.dist-info/direct_url.json").read_text())
    assert said == {"url": origin.as_uri(), "vcs_info": {"vcs": "git", "commit_id": commit}}


def test_pip_requirements_without_python_are_an_error(bench: Bench) -> None:
    conda_package(bench.handmade, "tool", {"share/tool": b"good"})
    with pytest.raises(InstallError, match="no Python in the environment"):
        bench.make(bench.conda("tool"), [from_index("six==1.17.0", bench.python)])


# --- postBuild ---------------------------------------------------------------------------------


def test_all_that_post_build_does_is_reported_and_none_of_it_reaches_the_cache(
    bench: Bench,
) -> None:
    conda = bench.with_python("attrs")
    bench.make(conda, name="warm")
    site = f"lib/python{bench.python}/site-packages"
    before = contents(bench.cache / "packages")
    prefix = bench.make(
        conda,
        variables=(("GREETING", "good day"),),
        post_build=f"""\
            #!/usr/bin/env python
            import os, pathlib, sys
            prefix = pathlib.Path(sys.prefix)
            assert os.environ["CONDA_PREFIX"] == sys.prefix
            assert os.environ["GREETING"] == "good day"
            with (prefix / "{site}/attr/__init__.py").open("r+") as file:
                file.write("##")  # in place
            (prefix / "{site}/attr/_cmp.py").touch()
            (prefix / "{site}/attr/filters.py").unlink()
            (prefix / "{site}/extra.py").write_text("x = 1")
            (pathlib.Path.home() / "left").touch()
        """,
    )
    assert prefix.changes == (
        FileChange(path=f"{site}/attr/__init__.py", change="changed", by="postBuild"),
        FileChange(path=f"{site}/attr/filters.py", change="deleted", by="postBuild"),
        FileChange(path=f"{site}/extra.py", change="added", by="postBuild"),
    )
    assert prefix.leftovers == ("left",)
    assert contents(bench.cache / "packages") == before
    require_copies(bench.path)


def test_copies_can_be_read_by_all_whatever_the_umask(bench: Bench) -> None:
    before = os.umask(0o077)
    try:
        bench.make(bench.with_python("ipykernel"), post_build="#!/bin/sh\n")
    finally:
        os.umask(before)
    require_copies(bench.path)


def test_an_editable_install_becomes_a_real_one(bench: Bench) -> None:
    bench.project()
    prefix = bench.make(
        bench.with_python("setuptools", "wheel"),
        post_build="#!/bin/bash -e\npip install --no-build-isolation -e mine\n",
    )
    where = bench.run("python", "-c", "import mine; print(mine.answer, mine.__file__)")
    assert where == f"42 {bench.site / 'mine.py'}"
    assert not list(bench.site.glob("__editable__*"))
    assert "mine==0.1" in bench.run("python", "-m", "pip", "freeze").splitlines()
    assert any("editable" in note.message for note in prefix.notes)
    leaks = subprocess.run(["grep", "-Frl", ".work-", bench.path], capture_output=True, check=False)
    assert leaks.stdout == b""


def test_pip_in_post_build_leaves_neither_bytecode_nor_paths(bench: Bench) -> None:
    bench.project()
    prefix = bench.make(
        bench.with_python("setuptools", "wheel"),
        post_build="#!/bin/bash -e\npip install --no-build-isolation ./mine\n",
    )
    assert {one.change for one in prefix.changes} == {"added"}
    assert "mine.py" in {Path(one.path).name for one in prefix.changes}
    assert not any("__pycache__" in line for line in (
        bench.site / "mine-0.1.dist-info/RECORD").read_text().splitlines())  # fmt: skip
    assert not (bench.site / "__pycache__").exists()
    leaks = subprocess.run(["grep", "-Frl", ".work-", bench.path], capture_output=True, check=False)
    assert leaks.stdout == b""


def test_a_failing_post_build_keeps_what_was_made_and_no_scratch(bench: Bench) -> None:
    with pytest.raises(PostBuildError, match="exit code 3") as caught:
        bench.make(bench.with_python(), post_build="#!/bin/sh\necho why\nexit 3\n")
    assert caught.value.detail == "why"
    assert (bench.path / "bin/python").exists()
    assert not list(bench.folder.glob(".work-*"))


def _is_alive(pid: int) -> bool:
    """Say whether a process runs; one that is dead may still wait for init to take notice."""
    try:
        status = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_an_interrupt_ends_everything_that_was_started(bench: Bench) -> None:
    conda_package(bench.handmade, "tool", {"share/tool": b"good"})
    (tool,) = bench.conda("tool")
    started = bench.folder / "started"
    bench.write("postBuild", f"#!/bin/sh\nsleep 987 &\necho $! > {started}.new\n"
                f"mv {started}.new {started}\nsleep 987\n")  # fmt: skip
    code = textwrap.dedent(f"""
        from pathlib import Path
        from reespack.channels import ChannelSettings
        from reespack.model import EnvironmentSpec, Repository
        from reespack.products import LockedConda, PlatformLock
        from reespack.prefix import make_prefix
        from reespack.package_index import PackageIndex

        top, cache = Path({str(bench.top)!r}), Path({str(bench.folder / "own")!r})
        make_prefix(
            EnvironmentSpec(name="x", platform={PLATFORM!r}, channels=(), post_build="postBuild"),
            PlatformLock(platform={PLATFORM!r}, conda=(LockedConda(
                name="tool", version="1.0", build="0", url={tool.url!r},
                sha256={tool.sha256!r}, md5=None),)),
            path=Path({str(bench.folder / "env")!r}),
            repository=Repository(root=top, top=top, name="x", source="x"),
            channels=ChannelSettings(cache=cache), index=PackageIndex(), cache=cache,
            timeout=None, threads=1)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as child:
        while not started.exists():
            assert child.poll() is None
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.05)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    # What was killed is dead once it gets to run again, which nobody waits for.
    until = time.monotonic() + 30
    while _is_alive(int(started.read_text())):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not list(bench.folder.glob(".work-*"))
