from __future__ import annotations

import base64
import hashlib
import json
import marshal
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reespack.bytecode import compile_sources
from reespack.bytecode.worker import bytecode
from reespack.conda_records import read_records
from reespack.errors import PackError
from reespack.files import walk
from reespack.products import Bytecode, FileChange, PlatformLock, Prefix

if TYPE_CHECKING:
    from pathlib import Path
    from types import CodeType

LIB = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"{LIB}/site-packages"
LOCK = PlatformLock(platform="linux-64", conda=())


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def conda_package(root: Path, name: str, files: dict[str, str]) -> None:
    for path, text in files.items():
        write(root, path, text)
    entries = [
        {"_path": path, "path_type": "hardlink", "sha256": digest(text)}
        for path, text in files.items()
    ]
    record = {
        "name": name,
        "sha256": digest(name),
        "files": [*files],
        "paths_data": {"paths_version": 1, "paths": entries},
    }
    write(root, f"conda-meta/{name}-1-0.json", json.dumps(record))


def wheel(root: Path, name: str, files: dict[str, str]) -> None:
    lines = []
    for path, text in files.items():
        write(root, f"{SITE}/{path}", text)
        value = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        lines.append(f"{path},sha256={value.rstrip('=')},{len(text)}\n")
    write(root, f"{SITE}/{name}-1.dist-info/RECORD", "".join(lines))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "env"
    (path / "bin").mkdir(parents=True)
    (path / "bin/python").symlink_to(sys.executable)
    conda_package(path, "one", {f"{SITE}/one.py": "a = {'x', None, 1.5}\ndef f(): return 'one'\n"})
    wheel(path, "two", {"two/__init__.py": "two = 'f'\n", "two/deep.py": "def g(one): pass\n"})
    write(path, f"{SITE}/three.py", "three = 3\n")
    return path


def compiled(
    root: Path,
    cache: Path,
    *,
    threads: int = 2,
    changes: tuple[FileChange, ...] = (),
    below: Path | None = None,
) -> dict[str, Bytecode]:
    prefix = Prefix(path=root, lock=LOCK, changes=changes)
    records = read_records(root)
    files = [path for path, entry in walk(root) if entry.is_file(follow_symlinks=False)]
    found = compile_sources(
        prefix, records, files, cache=cache, threads=threads, shared_cache=below
    )
    return {one.source.rpartition("/")[2]: one for one in found}


def content(one: Bytecode) -> bytes:
    return one.file.read_bytes()[one.offset :][: one.size]


def inodes(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in cache.rglob("*") if path.is_file()}


def test_the_link_for_old_condas_is_no_other_library(root: Path, tmp_path: Path) -> None:
    (root / "lib/python3.1").symlink_to(LIB.rpartition("/")[2])
    conda_package(root, "four", {f"{SITE}/four.py": "four = 4\n"})
    found = compiled(root, tmp_path / "cache")
    assert sorted(found) == ["__init__.py", "deep.py", "four.py", "one.py", "three.py"]
    assert all(one.source.startswith(f"{LIB}/") for one in found.values())


def test_unchecked_hash_with_a_relative_name(root: Path, tmp_path: Path) -> None:
    found = compiled(root, tmp_path / "cache")
    assert sorted(found) == ["__init__.py", "deep.py", "one.py", "three.py"]
    for one in found.values():
        folder, _, name = one.source.rpartition("/")
        tag = sys.implementation.cache_tag
        assert one.path == f"{folder}/__pycache__/{name[:-3]}.{tag}.pyc"
        assert one.source_sha256 == hashlib.sha256((root / one.source).read_bytes()).hexdigest()
        pyc = content(one)
        assert hashlib.sha256(pyc).hexdigest() == one.sha256
        assert pyc[4:8] == b"\1\0\0\0"
        code: CodeType = marshal.loads(pyc[16:])  # noqa: S302 - what we have just written
        assert code.co_filename == one.source


def test_python_takes_it_and_knows_where_the_source_is(root: Path, tmp_path: Path) -> None:
    one = compiled(root, tmp_path / "cache")["one.py"]
    target = root / one.path
    target.parent.mkdir()
    target.write_bytes(content(one))
    (root / one.source).write_text("this is not looked at")
    script = "import one; print(one.f(), one.f.__code__.co_filename)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root / SITE, check=True, capture_output=True, text=True
    )
    assert done.stdout == f"one {root}/{one.source}\n"


def test_bytes_depend_on_nothing_that_was_compiled_before(root: Path, tmp_path: Path) -> None:
    alone = compiled(root, tmp_path / "a", threads=1)
    names = {f"{SITE}/more/m{n}.py": f"one = two = three = f = g = 'x{n}'\n" for n in range(50)}
    # single characters are shared by all of Python, and interned once any name is like them
    names[f"{SITE}/more/a.py"] = "f = ['é', 'à', ',', '!', '']\nimport sys\nsys.intern('é')\n"
    conda_package(root, "aaa", names)
    os.environ["PYTHONHASHSEED"] = "4711"
    try:
        among = compiled(root, tmp_path / "b", threads=3)
    finally:
        del os.environ["PYTHONHASHSEED"]
    for name, one in alone.items():
        assert content(one) == content(among[name]), name
    again = compiled(root, tmp_path / "c", threads=1)
    assert {name: one.sha256 for name, one in again.items()} == {
        name: one.sha256 for name, one in among.items()
    }


def test_the_second_time_gives_the_same_bytes_as_the_first() -> None:
    """Python 3.12 has one frozen set here if its strings are new, and two once they are known."""
    source = b"""\
def f(x): return 1 if x in {'ninth_side', 'tenth'} and x.y else 2
def g(x):
    if x in {'ninth_side', 'tenth'}: return 3
"""
    first = bytecode("x.py", source)
    assert first
    assert bytecode("x.py", source) == first


def test_compiled_once_for_each_package(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = compiled(root, cache)
    before = inodes(cache)
    assert len(before) == 3
    assert compiled(root, cache) == first
    assert inodes(cache) == before
    conda_package(root, "four", {f"{SITE}/four.py": "four = 4\n"})
    assert compiled(root, cache).keys() == {*first, "four.py"}
    assert inodes(cache).items() >= before.items()
    assert len(inodes(cache)) == 4


def test_a_cache_below_is_used_and_never_written(root: Path, tmp_path: Path) -> None:
    below = tmp_path / "below"
    compiled(root, below)
    before = inodes(below)
    conda_package(root, "four", {f"{SITE}/four.py": "four = 4\n"})
    found = compiled(root, tmp_path / "own", below=below)
    assert found["one.py"].file.is_relative_to(below)
    assert found["four.py"].file.is_relative_to(tmp_path / "own")
    assert inodes(below) == before


@pytest.mark.parametrize("damage", [b"", b"nonsense" * 100])
def test_a_damaged_bundle_is_made_again(root: Path, tmp_path: Path, damage: bytes) -> None:
    first = compiled(root, tmp_path / "cache")
    for bundle in (tmp_path / "cache").rglob("*"):
        if bundle.is_file():
            bundle.write_bytes(damage)
    assert compiled(root, tmp_path / "cache") == first


def test_what_does_not_compile_is_left_out_and_not_tried_again(root: Path, tmp_path: Path) -> None:
    sources = {
        f"{SITE}/odd/old.py": "print 'two'\n",
        f"{SITE}/odd/template.py": "{{ name }} = 1\n",
        f"{SITE}/odd/null.py": "a = '\0'\n",
        f"{SITE}/odd/coded.py": "# coding: no-such-coding\n",
        f"{SITE}/odd/warned.py": "a = '\\d'\n",
    }
    conda_package(root, "odd", sources)
    found = compiled(root, tmp_path / "cache")
    assert "warned.py" in found
    assert not found.keys() & {"old.py", "template.py", "null.py", "coded.py"}
    before = inodes(tmp_path / "cache")
    assert compiled(root, tmp_path / "cache") == found
    assert inodes(tmp_path / "cache") == before


def ended_by(root: Path, deed: str) -> None:
    """Have the environment's Python do something when it is to compile `fatal.py`."""
    write(root, f"{SITE}/fatal.py", "boom = 1\n")
    (root / "bin/python").unlink()
    script = f"""#!{sys.executable} -B
import builtins, os, runpy, sys
real = compile
def fatal(source, name, *rest, **more):
    return {deed} if name.endswith("fatal.py") else real(source, name, *rest, **more)
builtins.compile = fatal
runpy.run_path(sys.argv[-1], run_name="__main__")
"""
    write(root, "bin/python", script)
    (root / "bin/python").chmod(0o755)


def test_what_crashes_the_interpreter_is_left_out(root: Path, tmp_path: Path) -> None:
    expected = compiled(root, tmp_path / "a")
    ended_by(root, "os.abort()")
    found = compiled(root, tmp_path / "b")
    assert {name: one.sha256 for name, one in found.items()} == {
        name: one.sha256 for name, one in expected.items()
    }


@pytest.mark.parametrize("deed", ["os.kill(os.getpid(), 9)", "os._exit(9)"])
def test_a_python_that_is_ended_is_an_error_and_nothing_is_kept_of_it(
    root: Path, tmp_path: Path, deed: str
) -> None:
    ended_by(root, deed)
    with pytest.raises(PackError, match=r"ended while it compiled .*fatal\.py"):
        compiled(root, tmp_path / "cache")
    (root / "bin/python").unlink()
    (root / "bin/python").symlink_to(sys.executable)
    assert compiled(root, tmp_path / "cache").keys() >= {"one.py", "fatal.py"}


def test_a_changed_file_is_not_its_packages_any_more(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = compiled(root, cache)["one.py"]
    (root / before.source).write_text("one = 'changed'\n")
    change = FileChange(path=before.source, change="changed", by="postBuild")
    after = compiled(root, cache, changes=(change,))["one.py"]
    assert after.source_sha256 == digest("one = 'changed'\n")
    assert after.file != before.file
    # in whatever order the two are met
    other = tmp_path / "other"
    assert compiled(root, other, changes=(change,))["one.py"].sha256 == after.sha256
    (root / before.source).write_text("a = {'x', None, 1.5}\ndef f(): return 'one'\n")
    assert compiled(root, other)["one.py"].sha256 == before.sha256


def test_a_file_that_nobody_admits_to_have_changed(root: Path, tmp_path: Path) -> None:
    (root / SITE / "one.py").write_text("one = 'changed'\n")
    assert "one.py" not in compiled(root, tmp_path / "cache")
    (root / SITE / "one.py").write_text("a = {'x', None, 1.5}\ndef f(): return 'one'\n")
    assert "one.py" in compiled(root, tmp_path / "cache")


def test_two_packages_with_one_file(root: Path, tmp_path: Path) -> None:
    wheel(root, "rival", {"two/__init__.py": "two = 'rival'\n"})
    found = compiled(root, tmp_path / "cache")
    assert found["__init__.py"].source_sha256 == digest("two = 'rival'\n")


def test_sources_that_hold_the_prefix_and_tests_have_none(root: Path, tmp_path: Path) -> None:
    write(root, f"{SITE}/placed.py", f"prefix = {str(root)!r}\n")
    write(root, f"{SITE}/two/tests/test_two.py", "def test(): pass\n")
    write(root, f"{SITE}/two/testing/helper.py", "help = 1\n")
    write(root, "share/script.py", "script = 1\n")
    found = compiled(root, tmp_path / "cache")
    assert "helper.py" in found
    assert not found.keys() & {"placed.py", "test_two.py", "script.py"}


def test_links_and_odd_names(root: Path, tmp_path: Path) -> None:
    (root / SITE / "link.py").symlink_to("one.py")
    (root / os.fsdecode(os.fsencode(SITE) + b"/b\xff.py")).write_text("b = 1\n")
    found = compiled(root, tmp_path / "cache")
    assert "link.py" not in found
    assert os.fsdecode(b"b\xff.py") in found


def test_no_python_no_bytecode(root: Path, tmp_path: Path) -> None:
    (root / "bin/python").unlink()
    assert compiled(root, tmp_path / "cache") == {}


def test_a_python_that_does_not_run(root: Path, tmp_path: Path) -> None:
    (root / "bin/python").unlink()
    write(root, "bin/python", "no program")
    with pytest.raises(PackError, match="Python cannot be run"):
        compiled(root, tmp_path / "cache")


def test_a_python_that_fails(root: Path, tmp_path: Path) -> None:
    (root / "bin/python").unlink()
    write(root, "bin/python", "#!/bin/sh\nexit 3\n")
    (root / "bin/python").chmod(0o755)
    with pytest.raises(PackError, match="Python does not run"):
        compiled(root, tmp_path / "cache")


def test_a_python_without_unchecked_bytecode(root: Path, tmp_path: Path) -> None:
    (root / LIB).rename(root / "lib/python3.6")
    assert compiled(root, tmp_path / "cache") == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_source(root: Path, tmp_path: Path) -> None:
    (root / SITE / "three.py").chmod(0)
    with pytest.raises(PackError, match=r"three\.py"):
        compiled(root, tmp_path / "cache")


def test_bundles_are_for_all_whom_the_umask_lets(root: Path, tmp_path: Path) -> None:
    umask = os.umask(0o007)
    try:
        compiled(root, tmp_path / "cache")
    finally:
        os.umask(umask)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [path.name for path in files if path.name.startswith(".")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o660}
