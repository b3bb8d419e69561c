from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zstandard
from packaging.utils import canonicalize_name, parse_wheel_filename

from reespack.channel.conda_file import PLACEHOLDER
from reespack.channel.interpreter import Interpreter
from reespack.channel.metadata import Metadata, read_metadata
from reespack.channel.wheel_package import existing_package, wheel_package
from reespack.channel.wheels import Wheel
from reespack.errors import ChannelError


def interpreter(minor: str = "3.11") -> Interpreter:
    markers = {
        "implementation_name": "cpython",
        "implementation_version": f"{minor}.4",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{minor}.4",
        "python_version": minor,
        "sys_platform": "linux",
    }
    return Interpreter(
        executable=Path("/opt/bin/python"),
        prefix=Path("/opt"),
        former_prefixes=("/opt",),
        build_folders=(),
        stdlib=Path("/opt/lib"),
        version=f"{minor}.4",
        subdir="linux-64",
        markers=tuple(markers.items()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A wheel for a test: what its METADATA says and what else is inside."""

    name: str = "Some_Thing"
    version: str = "1.0"
    tag: str = "py3-none-any"
    requires: tuple[str, ...] = ()
    requires_python: str = ">=3.9"
    files: dict[str, str] = field(default_factory=dict)
    entry_points: str = ""

    def write(self, folder: Path) -> tuple[Wheel, Path]:
        stem = f"{self.name}-{self.version}"
        lines = [f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}"]
        lines += [f"Requires-Python: {self.requires_python}", "Summary: A thing", "License: MIT"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        contents = {
            f"{self.name.lower()}.py": "def main(): ...\n",
            **{path.replace("DATA", f"{stem}.data"): text for path, text in self.files.items()},
            f"{stem}.dist-info/METADATA": "\n".join(lines) + "\n\nAbout it.\n",
            f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\n",
            f"{stem}.dist-info/RECORD": "",
        }
        if self.entry_points:
            contents[f"{stem}.dist-info/entry_points.txt"] = self.entry_points
        path = folder / f"{stem}-{self.tag}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in contents.items():
                archive.writestr(zipfile.ZipInfo(name, (2024, 2, 29, 12, 0, 0)), text)
        name, version, _, tags = parse_wheel_filename(path.name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        wheel = Wheel(name=name, version=str(version), url=path.as_uri(), sha256=digest, tags=tags)
        return wheel, path


class Package:
    """What a test wants to know of a `.conda` file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, bytes] = {}
        self.modes: dict[str, int] = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".zst"):
                    self._read(archive.read(name))

    def _read(self, data: bytes) -> None:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                file = tar.extractfile(member)
                self.files[member.name] = file.read() if file else b""
                self.modes[member.name] = member.mode

    def json(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.files[f"info/{name}"])

    @property
    def index(self) -> dict[str, Any]:
        document: dict[str, Any] = self.json("index.json")
        return document

    @property
    def paths(self) -> dict[str, dict[str, Any]]:
        return {row["_path"]: row for row in self.json("paths.json")["paths"]}

    @property
    def record(self) -> dict[str, tuple[str, str]]:
        [name] = [path for path in self.files if path.endswith(".dist-info/RECORD")]
        rows = csv.reader(self.files[name].decode().splitlines())
        return {path: (digest, size) for path, digest, size in rows}


def convert(
    made: Made, folder: Path, minor: str = "3.11", others: tuple[Made, ...] = ()
) -> Package:
    folder.mkdir(exist_ok=True)
    known: dict[str, Metadata] = {}
    for other in others:
        known[canonicalize_name(other.name)] = read_metadata(other.write(folder)[1])
    wheel, path = made.write(folder)
    return Package(
        wheel_package(
            wheel, path, interpreter=interpreter(minor), lookup=known.get, folder=folder / "channel"
        )
    )


def test_a_pure_wheel_is_noarch_with_entry_points(tmp_path: Path) -> None:
    text = (
        "[console_scripts]\nRun = some_thing:main [x]\n[gui_scripts]\nwin=a.b:c.d\n[other]\ny=z\n"
    )
    package = convert(Made(entry_points=text), tmp_path)
    assert package.path.parent.name == "noarch"
    assert package.path.name.startswith("some-thing-1.0-pyh")
    assert package.index["noarch"] == "python"
    assert package.index["depends"] == ["python >=3.9"]
    assert package.index["timestamp"] == 1_709_208_000_000
    assert package.json("link.json")["noarch"]["entry_points"] == [
        "Run = some_thing:main",
        "win = a.b:c.d",
    ]
    assert not any(path.startswith(("bin/", "python-scripts/")) for path in package.paths)
    assert package.json("about.json")["license"] == "MIT"


def test_the_record_says_where_files_are_once_installed(tmp_path: Path) -> None:
    made = Made(
        entry_points="[console_scripts]\nrun = some_thing:main\n",
        files={
            "DATA/scripts/tool": "#!python\nprint()\n",
            "DATA/data/share/thing.txt": "data",
            "DATA/purelib/extra.py": "",
        },
    )
    package = convert(made, tmp_path)
    record = package.record
    assert set(record) == {
        "../../../bin/run",
        "../../../bin/tool",
        "../../../share/thing.txt",
        "extra.py",
        "some_thing.py",
        *(
            f"Some_Thing-1.0.dist-info/{name}"
            for name in (
                "INSTALLER",
                "METADATA",
                "RECORD",
                "REQUESTED",
                "WHEEL",
                "entry_points.txt",
            )
        ),
    }
    assert record["../../../bin/tool"] == ("", "")  # its shebang is written when it is installed
    assert record["extra.py"][0] == "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert package.files["site-packages/Some_Thing-1.0.dist-info/INSTALLER"] == b"conda\n"
    tool = package.paths["python-scripts/tool"]
    assert tool["file_mode"] == "text"
    assert package.files["python-scripts/tool"].startswith(f"#!{PLACEHOLDER}/bin/python\n".encode())
    assert package.modes["python-scripts/tool"] == 0o755
    assert "share/thing.txt" in package.paths


def test_a_compiled_wheel_belongs_to_its_python(tmp_path: Path) -> None:
    made = Made(
        tag="cp311-cp311-manylinux_2_17_x86_64.manylinux_2_28_x86_64",
        entry_points="[console_scripts]\nrun = some_thing:Class.main\n",
    )
    package = convert(made, tmp_path)
    assert package.path.parent.name == "linux-64"
    assert package.path.name.startswith("some-thing-1.0-py311h")
    assert package.index["depends"] == [
        "__glibc >=2.17",
        "python >=3.11,<3.12.0a0",
        "python_abi 3.11.* *_cp311",
    ]
    assert "noarch" not in package.index
    script = package.files["bin/run"].decode()
    assert script.startswith(f"#!{PLACEHOLDER}/bin/python3.11\n")
    assert "from some_thing import Class\n" in script
    assert "sys.exit(Class.main())" in script
    assert package.paths["bin/run"]["prefix_placeholder"] == PLACEHOLDER
    assert package.record["../../../bin/run"] == ("", "")
    compile(script, "run", "exec")


@pytest.mark.parametrize("tag", ["cp39-abi3-manylinux2014_x86_64", "py3-none-manylinux2014_x86_64"])
def test_stable_interfaces_are_built_for_each_python(tmp_path: Path, tag: str) -> None:
    for minor in ("3.11", "3.12"):
        package = convert(Made(tag=tag), tmp_path, minor)
        assert f"python_abi {minor}.* *_cp{minor.replace('.', '')}" in package.index["depends"]
        assert package.path.name.startswith(f"some-thing-1.0-py{minor.replace('.', '')}h")


def test_headers_lie_in_the_folder_of_one_python(tmp_path: Path) -> None:
    package = convert(Made(files={"DATA/headers/thing.h": "//"}), tmp_path)
    assert "include/python3.11/Some_Thing/thing.h" in package.paths
    assert package.path.parent.name == "linux-64"
    assert "python_abi" not in " ".join(package.index["depends"])


def test_markers_that_differ_between_pythons_make_a_package_for_each(tmp_path: Path) -> None:
    made = Made(requires=("tomli>=1; python_version < '3.12'", "six"))
    old, new = convert(made, tmp_path, "3.11"), convert(made, tmp_path, "3.12")
    assert old.path.parent.name == "noarch"
    assert old.path.name != new.path.name
    assert old.index["depends"] == ["python >=3.11,<3.12.0a0", "six", "tomli >=1"]
    assert new.index["depends"] == ["python >=3.12,<3.13.0a0", "six"]


def test_markers_outside_requires_python_make_no_difference(tmp_path: Path) -> None:
    made = Made(requires=("tomli; python_version < '3.9'",), requires_python=">=3.10")
    package = convert(made, tmp_path)
    assert package.index["depends"] == ["python >=3.10"]
    assert package.path.name.startswith("some-thing-1.0-pyh")


def test_markers_for_other_systems_keep_it_noarch_on_linux(tmp_path: Path) -> None:
    package = convert(Made(requires=("colorama; sys_platform == 'win32'",)), tmp_path)
    assert package.path.parent.name == "noarch"
    assert package.index["depends"] == ["__linux", "python >=3.9"]


def test_markers_for_a_machine_bind_it_to_the_platform(tmp_path: Path) -> None:
    package = convert(Made(requires=("fast; platform_machine == 'x86_64'",)), tmp_path)
    assert package.path.parent.name == "linux-64"
    assert package.index["depends"] == ["fast", "python >=3.11,<3.12.0a0"]


def test_optional_dependencies_stay_out(tmp_path: Path) -> None:
    package = convert(Made(requires=("x; extra == 'all'",)), tmp_path)
    assert package.index["depends"] == ["python >=3.9"]


def test_extras_of_a_dependency_are_written_out(tmp_path: Path) -> None:
    other = Made(
        name="other",
        requires=(
            "base",
            "sock<2; extra == 'socks'",
            "deep[more]; extra == 'socks'",
            "other[socks]; extra == 'all'",
            "never; extra == 'never'",
        ),
    )
    deep = Made(name="deep", requires=("bottom; extra == 'more'",))
    made = Made(requires=("other[all]>=1",))
    package = convert(made, tmp_path, others=(other, deep))
    assert package.index["depends"] == ["bottom", "deep", "other >=1", "python >=3.9", "sock <2a0"]


def test_extras_that_name_each_other_end(tmp_path: Path) -> None:
    one = Made(name="one", requires=("two[x]; extra == 'x'",))
    two = Made(name="two", requires=("one[x]; extra == 'x'", "leaf; extra == 'x'"))
    package = convert(Made(requires=("one[x]",)), tmp_path, others=(one, two))
    assert package.index["depends"] == ["leaf", "one", "python >=3.9", "two"]


def test_a_patch_level_in_requires_python_is_kept(tmp_path: Path) -> None:
    made = Made(tag="cp311-cp311-linux_x86_64", requires_python=">=3.9,!=3.11.2")
    assert convert(made, tmp_path).index["depends"] == [
        "python >=3.11,<3.12.0a0",
        "python >=3.9,!=3.11.2",
        "python_abi 3.11.* *_cp311",
    ]


def test_a_local_version_goes_into_the_build(tmp_path: Path) -> None:
    package = convert(Made(version="1.0+cpu"), tmp_path)
    assert package.index["version"] == "1.0"
    assert package.index["build"].endswith("_cpu")


def test_it_is_the_same_every_time_and_found_again(tmp_path: Path) -> None:
    made = Made(entry_points="[console_scripts]\nrun = some_thing:main\n")
    one, two = convert(made, tmp_path / "one"), convert(made, tmp_path / "two")
    assert one.path.read_bytes() == two.path.read_bytes()
    wheel, _ = made.write(tmp_path)
    channel = one.path.parent.parent
    assert existing_package(wheel, interpreter("3.12"), channel) == one.path
    other, _ = Made(files={"new.py": ""}).write(tmp_path)
    assert existing_package(other, interpreter(), channel) is None


def test_bytecode_stays_out(tmp_path: Path) -> None:
    package = convert(Made(files={"__pycache__/x.cpython-311.pyc": "x"}), tmp_path)
    assert not any("pyc" in path for path in package.paths)


@pytest.mark.parametrize("name", ["../../evil.py", "/evil.py", "DATA/nonsense/x"])
def test_a_path_that_leads_nowhere_good_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ChannelError, match="broken wheel"):
        convert(Made(files={name: ""}), tmp_path)
    assert not list(tmp_path.rglob("*.conda"))


def test_a_file_that_is_no_wheel_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some_thing-1.0-py3-none-any.whl"
    path.write_bytes(b"<html>")
    with pytest.raises(ChannelError, match="is not a wheel"):
        read_metadata(path)
