"""A wheelhouse channel, and environments that the solver and the installer make of it."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reespack.channel import ChannelReport, create_channel
from reespack.errors import ChannelError, UnsatisfiableError, UsageError
from reespack.package_index import PackageIndex

REQUIREMENTS = ("markupsafe", "pygments", "requests[socks]")
MINOR = "{}.{}".format(*sys.version_info)


class Made(NamedTuple):
    """The channel and what making it said."""

    folder: Path
    report: ChannelReport


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("channel")
    aliases = ["mark-base=markupsafe"]
    return Made(folder, create_channel(folder, requirements=REQUIREMENTS, aliases=aliases))


async def _install(channel: Path, prefix: Path, specs: list[str]) -> list[Any]:
    from rattler import Channel, MatchSpec, VirtualPackage, install, solve
    from rattler.platform import Subdir

    records = await solve(
        sources=[Channel(channel.as_uri())],
        specs=[MatchSpec(spec) for spec in specs],
        platforms=[Subdir.current(), Subdir("noarch")],
        virtual_packages=VirtualPackage.detect(),
    )
    cache = prefix.with_name(f"{prefix.name}-cache")
    await install(records, target_prefix=prefix, cache_dir=cache, show_progress=False)
    shutil.rmtree(cache)  # nothing may lean on it
    return list(records)


@pytest.fixture(scope="module")
def prefix(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment, with the package cache gone."""
    folder = tmp_path_factory.mktemp("env") / "prefix"
    specs = [f"python {MINOR}.*", "pip", "setuptools", "mark-base", "pygments", "requests"]
    asyncio.run(_install(made.folder, folder, specs))
    return folder


def run(program: Path, *arguments: str, **variables: str) -> str:
    """Run a program with next to nothing in its environment variables."""
    outcome = subprocess.run(
        [program, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def ask(prefix: Path, code: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(run(prefix / "bin" / "python", "-c", f"import json\n{code}"))


def test_a_second_run_keeps_everything(made: Made) -> None:
    before = {path: path.read_bytes() for path in made.folder.glob("*/*.conda")}
    again = create_channel(made.folder, requirements=REQUIREMENTS, aliases=["mark-base=markupsafe"])
    assert again.built == ()
    assert set(again.kept) == set(made.report.built)
    assert {path: path.read_bytes() for path in made.folder.glob("*/*.conda")} == before


def test_a_second_channel_has_the_same_bytes(made: Made, tmp_path: Path) -> None:
    report = create_channel(tmp_path, requirements=["markupsafe"])
    assert f"linux-{'64' if platform.machine() == 'x86_64' else 'aarch64'}" in report.built[0]
    for name in report.built:
        assert tmp_path.joinpath(name).read_bytes() == made.folder.joinpath(name).read_bytes()


def test_a_channel_can_be_extended(made: Made, tmp_path: Path) -> None:
    copy = tmp_path / "channel"
    shutil.copytree(made.folder, copy)
    report = create_channel(copy, requirements=["six"], aliases=["marks=markupsafe"])
    names = {name.rpartition("/")[2].rsplit("-", 2)[0] for name in report.built}
    assert names == {"six", "marks"}
    records = json.loads(copy.joinpath("noarch", "repodata.json").read_text())["packages.conda"]
    assert {"six", "pygments"} <= {record["name"] for record in records.values()}
    assert copy.joinpath("noarch", "repodata.json.zst").is_file()
    assert {path.name for path in copy.iterdir()} == {path.name for path in made.folder.iterdir()}


def test_the_interpreter_is_whole(prefix: Path) -> None:
    code = """
import bz2, ctypes, curses, dbm, lzma, pip, readline, sqlite3, ssl, sys, uuid, venv, zlib
sqlite3.connect(":memory:").execute("select 1")
libraries = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps({
    "version": sys.version,
    "prefix": [sys.prefix, sys.base_prefix],
    "certificates": len(ssl.create_default_context().get_ca_certs()) > 50,
    "foreign": sorted(path for path in libraries if not path.startswith(sys.prefix)),
}))"""
    facts = ask(prefix, code)
    assert facts["version"] == sys.version
    assert facts["prefix"] == [str(prefix), str(prefix)]
    assert facts["certificates"]
    for path in facts["foreign"]:  # glibc's alone
        assert Path(path).name.startswith(("libc.", "libc-", "libm.", "libm-", "ld-", "libdl"))


def test_libraries_of_another_python_are_not_taken(prefix: Path) -> None:
    code = "import ssl; print(sorted(l.split()[-1] for l in open('/proc/self/maps') if '.so' in l))"
    others = f"{sys.base_prefix}/lib:/usr/lib/x86_64-linux-gnu:/lib/aarch64-linux-gnu"
    libraries = run(prefix / "bin" / "python", "-c", code, LD_LIBRARY_PATH=others)
    assert f"{prefix}/lib/libssl" in libraries or "_ssl" not in libraries
    assert f"'{sys.base_prefix}/lib" not in libraries
    assert "gnu/libssl" not in libraries


def test_sysconfig_tells_the_new_place(prefix: Path) -> None:
    code = """
import sysconfig
print(json.dumps([sysconfig.get_config_var(name) for name in ("prefix", "LIBDIR", "INCLUDEPY")]
    + sorted(sysconfig.get_paths().values())))"""
    for path in ask(prefix, code):
        assert Path(path).is_relative_to(prefix)
        assert Path(path).exists()


def test_certificates_are_found_where_the_system_has_none(prefix: Path) -> None:
    source = (prefix / "lib" / f"python{MINOR}" / "ssl.py").read_text()
    assert source.rstrip().endswith("_find_certificates()")
    bundle = (prefix / "ssl" / "cert.pem").read_text()
    assert bundle.count("BEGIN CERTIFICATE") > 50


def test_no_file_names_the_interpreter_it_came_from(prefix: Path) -> None:
    former = os.path.realpath(sys.base_prefix).encode()
    import sysconfig

    build_folder = str(sysconfig.get_config_var("abs_builddir") or former.decode()).encode()
    if former == b"/usr/local":
        pytest.skip("libraries of the system name this folder for reasons of their own")
    found = [
        path
        for path in prefix.rglob("*")
        if path.is_file()
        and "conda-meta" not in path.parts
        and (former in (data := path.read_bytes()) or build_folder in data)
    ]
    assert found == []


def test_no_test_suite_and_no_bytecode_travels(prefix: Path) -> None:
    [record] = [*prefix.glob("conda-meta/python-3*.json")]
    files = json.loads(record.read_text())["files"]
    assert not [path for path in files if path.endswith((".pyc", ".a", ".o"))]
    assert not [path for path in files if "/test/test_" in path]
    others = [path for path in files if "/site-packages/" in path]
    assert others == [f"lib/python{MINOR}/site-packages/README.txt"]


def test_old_condas_find_the_library_as_with_conda_forges_python(prefix: Path) -> None:
    assert (prefix / "lib/python3.1").readlink() == Path(f"python{MINOR}")


def test_pip_and_uv_see_what_is_installed(prefix: Path) -> None:
    from reespack.uv import uv_program

    by_pip = json.loads(run(prefix / "bin" / "pip", "list", "--format", "json"))
    listing = ("pip", "list", "--format", "json", "--python", str(prefix / "bin" / "python"))
    by_uv = json.loads(run(Path(uv_program()), *listing, UV_NO_CONFIG="1"))
    assert {row["name"].lower() for row in by_pip} == {row["name"] for row in by_uv}
    assert {"markupsafe", "pygments", "pip", "setuptools", "requests"} <= {
        row["name"] for row in by_uv
    }
    run(prefix / "bin" / "pip", "check")


def test_every_recorded_file_is_there(prefix: Path) -> None:
    code = """
from importlib.metadata import distributions
missing = [str(file) for one in distributions() for file in one.files if not file.locate().exists()]
print(json.dumps([missing, sorted(one.read_text("INSTALLER").strip() for one in distributions())]))
"""
    missing, installers = ask(prefix, code)
    assert missing == []
    assert set(installers) == {"conda"}


def test_entry_points_and_compiled_modules_work(prefix: Path) -> None:
    assert "Pygments version" in run(prefix / "bin" / "pygmentize", "-V")
    assert ask(prefix, "import markupsafe._speedups as s; print(json.dumps(s.__file__))")


def test_pip_can_remove_a_package(made: Made, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    asyncio.run(_install(made.folder, prefix, [f"python {MINOR}.*", "pip", "pygments"]))
    run(prefix / "bin" / "pip", "uninstall", "--yes", "pygments")
    assert not (prefix / "bin" / "pygmentize").exists()
    assert not [*prefix.glob("lib/python*/site-packages/[pP]ygments*")]


def test_a_virtual_environment_can_be_made(prefix: Path, tmp_path: Path) -> None:
    run(prefix / "bin" / "python", "-m", "venv", str(tmp_path / "v"))
    assert str(tmp_path / "v") in run(tmp_path / "v" / "bin" / "pip", "--version")


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")
def test_an_extension_module_can_be_compiled(made: Made, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    specs = [f"python {MINOR}.*", "pip", "setuptools", "wheel"]
    asyncio.run(_install(made.folder, prefix, specs))
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(name='ext', version='1', ext_modules=[Extension('ext', ['ext.c'])])\n"
    )
    (source / "ext.c").write_text(
        "#include <Python.h>\n"
        'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "ext", 0, -1, 0};\n'
        "PyMODINIT_FUNC PyInit_ext(void) { return PyModule_Create(&d); }\n"
    )
    run(
        prefix / "bin" / "pip", "install", "--no-index", "--no-build-isolation", str(source),
        PIP_CONFIG_FILE="/dev/null", PIP_ROOT_USER_ACTION="ignore",
    )  # fmt: skip
    assert ask(prefix, "import ext; print(json.dumps(ext.__file__))").startswith(str(prefix))


def test_an_extra_was_asked_for_and_is_there(made: Made) -> None:
    assert [name for name in made.report.built if "/pysocks-" in name]


def test_what_has_no_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsatisfiableError) as caught:
        create_channel(tmp_path, requirements=["no-such-distribution-at-all-xyz"])
    assert "no-such-distribution-at-all-xyz" in caught.value.message
    assert "no-such-distribution-at-all-xyz" in (caught.value.detail or "")
    assert caught.value.hint


def test_an_index_that_does_not_answer_is_told(tmp_path: Path) -> None:
    index = PackageIndex(index_url="http://127.0.0.1:9/simple", cache=tmp_path / "uv")
    environ = {name: value for name, value in os.environ.items() if name.startswith("UV_")}
    if environ:
        pytest.skip("uv's own variables say which index counts")
    with pytest.raises(ChannelError, match="index cannot be reached"):
        create_channel(tmp_path / "channel", requirements=["six"], index=index)


def test_what_cannot_be_right_is_said_before_any_work(tmp_path: Path) -> None:
    folder = tmp_path / "channel"
    with pytest.raises(UsageError, match="not a requirement"):
        create_channel(folder, requirements=["==1.0"])
    with pytest.raises(UsageError, match="no such requirements file"):
        create_channel(folder, requirement_files=[tmp_path / "none.txt"])
    with pytest.raises(UsageError, match="not an alias"):
        create_channel(folder, aliases=["x"])
    with pytest.raises(UsageError, match=r"3\.99"):
        create_channel(folder, pythons=["3.99"])
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="cannot make the channel"):
        create_channel(file / "channel")
