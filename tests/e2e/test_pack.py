"""Real environments, packed in one folder and used in others."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import rattler
from uv import find_uv_bin

from reespack.bytecode import compile_sources
from reespack.pack import Contents, pack
from reespack.products import Archive, PlatformLock, Prefix
from reespack.unpack import unpack, verify

if TYPE_CHECKING:
    from pathlib import Path


def install(channel: Path, prefix: Path, cache: Path, *specs: str) -> None:
    async def run() -> None:
        installed = [
            rattler.PrefixRecord.from_path(path) for path in (prefix / "conda-meta").glob("*.json")
        ]
        records = await rattler.solve(
            [rattler.Channel(str(channel))],
            list(specs),
            platforms=["linux-64", "noarch"],
            locked_packages=installed,
            virtual_packages=rattler.VirtualPackage.detect(),
        )
        await rattler.install(records, prefix, cache_dir=cache)

    asyncio.run(run())


def solve_and_install(channel: Path, prefix: Path, cache: Path, *specs: str) -> None:
    """Have exactly what `specs` need in a prefix: what else there is goes."""

    async def run() -> None:
        records = await rattler.solve(
            [rattler.Channel(str(channel))],
            list(specs),
            platforms=["linux-64", "noarch"],
            virtual_packages=rattler.VirtualPackage.detect(),
        )
        await rattler.install(records, prefix, cache_dir=cache)

    asyncio.run(run())


def environment(channel: Path, path: Path, cache: Path, version: str) -> Prefix:
    """Install conda packages, a wheel over them, and what a postBuild might leave."""
    install(channel, path, cache, f"python={version}", "ipykernel", "pip", "numpy")
    command = [find_uv_bin(), "pip", "install", "-q", "--no-python-downloads", "--no-deps"]
    python = path / "bin/python"
    subprocess.run(
        [*command, "--break-system-packages", "--python", python, "toolz", "tabulate"], check=True
    )
    (path / "bin/post-built").write_text(f"#!{python}\nimport numpy\nprint({str(path)!r})\n")
    (path / "bin/post-built").chmod(0o755)
    return Prefix(path=path, lock=PlatformLock(platform="linux-64", conda=()))


def packed(prefix: Prefix, target: Path) -> Archive:
    def describe(contents: Contents) -> bytes:
        return json.dumps({"contents": {"tree_digest": contents.tree_digest}}).encode()

    # Each time compiled anew: where it comes from must make no difference.
    cache = target.with_suffix(".bytecode")
    return pack(
        prefix,
        target=target,
        format="tar.zst",
        describe=describe,
        mtime=1_500_000_000,
        threads=2,
        bytecode=functools.partial(compile_sources, prefix, cache=cache, threads=2),
    )


@pytest.fixture(scope="module")
def archive(
    wheelhouse: Path, python_version: str, tmp_path_factory: pytest.TempPathFactory
) -> Archive:
    """Pack an environment twice, from two folders, which are gone then."""
    top = tmp_path_factory.mktemp("pack")
    made: list[Archive] = []
    for folder in ("one", "another/and/quite/" + "long" * 25):
        path = top / "build" / folder
        path.parent.mkdir(parents=True)
        prefix = environment(wheelhouse, path, top / "cache", python_version)
        made.append(packed(prefix, top / f"{len(made)}.tar.zst"))
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    for folder in ("build", "cache"):
        shutil.rmtree(top / folder)
    return made[0]


def run(root: Path, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [root / "bin" / program, *arguments],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def assert_works(root: Path) -> None:
    assert run(root, "python", "-c", "import sys; print(sys.prefix)") == f"{root}\n"
    run(root, "python", "-c", "import numpy, ssl, sqlite3, ctypes, ipykernel, tabulate")
    assert run(root, "post-built") == f"{root}\n"
    assert "site-packages/pip " in run(root, "pip", "--version")
    flags = run(root, "python", "-m", "sysconfig")
    assert f'prefix = "{root}"' in flags
    for script in ("jupyter", "ipython", "tabulate"):
        run(root, script, "--help")


def assert_free_of(root: Path, needle: str) -> None:
    for path in root.rglob("*"):
        if path.is_file() and path.suffix != ".pyc" and not path.is_symlink():
            assert os.fsencode(needle) not in path.read_bytes(), path


def test_tar_and_conda_unpack_then_conda(
    archive: Archive, tmp_path: Path, wheelhouse: Path
) -> None:
    subprocess.run(["tar", "-xf", archive.path, "-C", tmp_path], check=True)
    script = f". {tmp_path}/bin/activate && conda-unpack && command -v python"
    done = subprocess.run(
        ["bash", "-euc", script],
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{tmp_path}/bin/python\n"
    assert_works(tmp_path)
    assert_free_of(tmp_path, str(archive.path.parent / "build"))
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path, "python", "-c", "import attr")
    cache = archive.path.parent / "cache"
    install(wheelhouse, tmp_path, cache, "python", "numpy", "ipykernel", "pip", "attrs")
    run(tmp_path, "python", "-c", "import attr, numpy")


def test_reespack_unpack_then_moved_then_read_only(archive: Archive, tmp_path: Path) -> None:
    root = unpack(archive.path, tmp_path / "first", threads=2).path
    assert_works(root)
    assert_free_of(root, str(archive.path.parent / "build"))
    for name in ("moved", "moved-" + "far" * 30):
        root = root.rename(tmp_path / name)
        run(root, "conda-unpack")
        assert_works(root)
    assert_free_of(root, str(tmp_path / "first"))
    if shutil.which("pkg-config"):
        environment = {"PKG_CONFIG_PATH": f"{root}/lib/pkgconfig", "PATH": os.environ["PATH"]}
        found = subprocess.run(
            ["pkg-config", "--variable=prefix", "python3"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout == f"{root}\n"
    assert run(root, "python3-config", "--prefix").strip() == str(root)
    subprocess.run(["chmod", "-R", "a-w", root], check=True)
    try:
        assert_works(root)
        run(root, "conda-unpack")
    finally:
        subprocess.run(["chmod", "-R", "u+w", root], check=True)


def bytecode_without_source(root: Path) -> set[Path]:
    return {
        path
        for path in root.rglob("__pycache__/*.pyc")
        if not (path.parent.parent / f"{path.name.partition('.')[0]}.py").exists()
    }


def test_python_runs_from_bytecode_alone(archive: Archive, tmp_path: Path) -> None:
    root = unpack(archive.path, tmp_path / "env", threads=2).path
    assert not bytecode_without_source(root)
    placed = [path for path in root.rglob("_sysconfigdata_*.py") if str(root) in path.read_text()]
    assert placed
    for source in placed:
        assert not list((source.parent / "__pycache__").glob(f"{source.stem}.*"))
    # Python marks what it compiles itself by time (flags 0); nothing but that must be missing.
    run(
        root,
        "python",
        "-c",
        "import numpy, ipykernel.kernelapp, tabulate, sysconfig; sysconfig.get_config_vars()",
    )
    compiled = {
        path.name.partition(".")[0]
        for path in root.rglob("*.pyc")
        if path.read_bytes()[4:8] == bytes(4)
    }
    assert compiled <= {source.stem for source in placed}
    script = "import tabulate; print(tabulate.__cached__, tabulate.tabulate.__code__.co_filename)"
    cached, name = run(root, "python", "-c", script).split()
    assert (root / cached).is_file()
    assert name.startswith(f"{root}/lib/python3")


def test_no_bytecode_stays_when_a_package_goes(
    archive: Archive, tmp_path: Path, wheelhouse: Path, python_version: str
) -> None:
    root = unpack(archive.path, tmp_path / "env", threads=2).path
    names = ("pip/__pycache__", "numpy/__pycache__", "toolz/__pycache__")
    site = root / f"lib/python{python_version}/site-packages"
    assert all(any((site / name).iterdir()) for name in names)
    assert (
        any((site / "__pycache__").glob("tabulate.*")) or (site / "tabulate/__pycache__").is_dir()
    )
    uv = [find_uv_bin(), "pip", "uninstall", "-q", "--no-python-downloads"]
    subprocess.run(
        [*uv, "--break-system-packages", "--python", root / "bin/python", "tabulate"], check=True
    )
    assert not list(site.rglob("tabulate*.pyc"))
    run(root, "python", "-m", "pip", "uninstall", "-qy", "toolz")
    assert not list(site.rglob("toolz/**/*.pyc"))
    # rattler, as conda would: by what conda-meta lists
    solve_and_install(wheelhouse, root, archive.path.parent / "cache", f"python={python_version}")
    assert not (site / "numpy").exists()
    left = {path.relative_to(site).parts[0] for path in bytecode_without_source(root)}
    assert not left


def test_verify(archive: Archive) -> None:
    report = verify(archive.path)
    assert report.ok
    assert (report.files, report.size) == (archive.files, archive.unpacked_size)
    assert report.tree_digest == archive.tree_digest
