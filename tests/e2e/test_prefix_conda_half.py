"""The conda half of a prefix with real packages: rattler, the cache, links, post-link scripts."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reespack.errors import HashMismatchError, InstallError
from reespack.files import sha256_file
from reespack.products import LockedPip

if TYPE_CHECKING:
    from collections.abc import Iterator
from prefixes import PLATFORM, Bench, conda_package, contents, from_index, solve

NO_FLOCK = Path(__file__).parents[1] / "no_flock.c"


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


def test_the_cache_does_without_the_channel(bench: Bench) -> None:
    conda = bench.with_python()
    fresh = bench.folder / "fresh"
    bench.make(conda, cache=fresh)
    fetched = contents(bench.path / "conda-meta")
    shutil.rmtree(bench.path)
    bench.make(conda, cache=fresh)
    assert contents(bench.path / "conda-meta") == fetched
    # Without the folders of the real channel: what follows a `t` rattler takes for a token.
    ends = ["/".join(one.url.rsplit("/", 2)[1:]) for one in conda]
    gone = [
        dataclasses.replace(one, url=f"https://gone.invalid/{end}")
        for one, end in zip(conda, ends, strict=True)
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
        import os
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
        os._exit(0)  # as the command does: a thread of rattler's may hand back the interpreter yet
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
