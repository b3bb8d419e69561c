from __future__ import annotations

from rattler.platform import Subdir

from reespack.locking.virtual_packages import as_rattler, assumed

HERE = str(Subdir.current())


def named(platform: str, **more: object) -> dict[str, tuple[str, str]]:
    packages = assumed(platform, **{"environ": {}, **more})  # type: ignore[arg-type]
    return {name: (version, build) for name, version, build in packages}


def test_this_machines_own_are_detected() -> None:
    found = named(HERE)
    assert {"__unix", "__archspec", "__glibc", "__linux"} <= found.keys()


def test_elsewhere_conda_locks_defaults_hold_without_a_gpu() -> None:
    assert assumed("osx-arm64", environ={}) == (
        ("__archspec", "1", "arm64"),
        ("__osx", "11.0", "0"),
        ("__unix", "0", "0"),
    )
    assert named("win-64") == {"__archspec": ("1", "x86_64"), "__win": ("0", "0")}
    other = "linux-aarch64" if HERE == "linux-64" else "linux-64"
    assert named(other)["__glibc"] == ("2.28", "0")
    assert "__cuda" not in named(other)


def test_variables_come_over_both_and_an_empty_one_takes_away() -> None:
    environ = {
        "CONDA_OVERRIDE_GLIBC": "2.17",
        "CONDA_OVERRIDE_CUDA": "12.2",
        "CONDA_OVERRIDE_ARCHSPEC": "zen4",
        "CONDA_OVERRIDE_LINUX": "",
        "CONDA_OVERRIDE_OSX": "14",
    }
    found = named(HERE, environ=environ)
    assert found["__glibc"] == ("2.17", "0")
    assert found["__cuda"] == ("12.2", "0")
    assert found["__archspec"] == ("1", "zen4")
    assert "__linux" not in found
    assert "__osx" not in found
    assert named("osx-64", environ=environ)["__osx"] == ("14", "0")


def test_an_argument_comes_over_everything() -> None:
    given = [("__glibc", "2.40"), ("__cuda", "13.0", "0")]
    found = named(HERE, environ={"CONDA_OVERRIDE_GLIBC": "2.17"}, given=given)
    assert found["__glibc"] == ("2.40", "0")
    assert found["__cuda"] == ("13.0", "0")


def test_the_solver_takes_them() -> None:
    (package,) = as_rattler([("__archspec", "1", "x86_64_v3")])
    assert (package.name.normalized, str(package.version)) == ("__archspec", "1")
    assert str(package.build_string) == "x86_64_v3"
