from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import reespack

PACKAGES = (
    "reespack",
    "reespack.installing",
    "reespack.kernelspec",
    "reespack.manifest",
    "reespack.unpack",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_stays(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        assert module.__dict__[name] is value


@pytest.mark.parametrize("package", PACKAGES)
def test_another_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such'"):
        _ = import_module(package).no_such


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_none_of_its_modules(package: str) -> None:
    code = (
        f"import sys, {package}; "
        f"print(*[name for name in sys.modules if name.startswith('{package}.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    allowed = {"reespack.lazy", "reespack.version"} if package == "reespack" else set()
    assert set(done.stdout.split()) == allowed


def test_the_version_is_there_at_once() -> None:
    assert reespack.__version__
