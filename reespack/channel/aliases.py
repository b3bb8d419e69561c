"""Names that conda-forge gives to distributions, where they differ from the index's.

In a wheelhouse a package is called as on the index, in its normal form (`jupyter-client`);
environment files are written with conda-forge's names (`jupyter_client`). A metapackage with the
latter that depends on exactly the former makes both work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from reespack.channel.conda_file import PackageInfo, write_conda_file
from reespack.channel.matchspecs import conda_version
from reespack.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["alias_packages", "conda_names", "parse_alias"]

# conda-forge's name -> the index's; several of the latter may provide the former.
_RENAMED: dict[str, tuple[str, ...]] = {
    "backports.tarfile": ("backports-tarfile",),
    "backports.zoneinfo": ("backports-zoneinfo",),
    "brotli-python": ("brotli",),
    "dask-core": ("dask",),
    "docker-py": ("docker",),
    "geopandas-base": ("geopandas",),
    "jaraco.classes": ("jaraco-classes",),
    "jaraco.context": ("jaraco-context",),
    "jaraco.functools": ("jaraco-functools",),
    "jupyterhub-base": ("jupyterhub",),
    "jupyterhub-singleuser": ("jupyterhub",),
    "matplotlib-base": ("matplotlib",),
    "msgpack-python": ("msgpack",),
    "nbconvert-core": ("nbconvert",),
    "neo4j-python-driver": ("neo4j",),
    "opencv": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "psycopg2": ("psycopg2-binary",),
    "py-lief": ("lief",),
    "py-opencv": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "py-xgboost": ("xgboost", "xgboost-cpu"),
    "pyarrow-core": ("pyarrow",),
    "pyqt": ("pyqt5",),
    "pysoundfile": ("soundfile",),
    "pytables": ("tables",),
    "python-annoy": ("annoy",),
    "python-blosc": ("blosc",),
    "python-build": ("build",),
    "python-confluent-kafka": ("confluent-kafka",),
    "python-duckdb": ("duckdb",),
    "python-eccodes": ("eccodes",),
    "python-fastjsonschema": ("fastjsonschema",),
    "python-flatbuffers": ("flatbuffers",),
    "python-gmsh": ("gmsh",),
    "python-graphviz": ("graphviz",),
    "python-hdfs": ("hdfs",),
    "python-igraph": ("igraph",),
    "python-isal": ("isal",),
    "python-kaleido": ("kaleido",),
    "python-kubernetes": ("kubernetes",),
    "python-libarchive-c": ("libarchive-c",),
    "python-lmdb": ("lmdb",),
    "python-tzdata": ("tzdata",),
    "python-xxhash": ("xxhash",),
    "pytorch": ("torch",),
    "pytorch-cpu": ("torch",),
    "pytorch_geometric": ("torch-geometric",),
    "ray-core": ("ray",),
    "ray-default": ("ray",),
    "ruamel.yaml": ("ruamel-yaml",),
    "ruamel.yaml.clib": ("ruamel-yaml-clib",),
    "seaborn-base": ("seaborn",),
    "tensorflow": ("tensorflow-cpu",),
    "tensorflow-base": ("tensorflow", "tensorflow-cpu"),
    "zope.event": ("zope-event",),
    "zope.interface": ("zope-interface",),
}

# conda-forge keeps the underscores of these names; the index's normal form has dashes.
_UNDERSCORED = frozenset(
    (
        "async_generator",
        "et_xmlfile",
        "importlib_metadata",
        "importlib_resources",
        "ipython_genutils",
        "jupyter_bokeh",
        "jupyter_client",
        "jupyter_console",
        "jupyter_contrib_core",
        "jupyter_contrib_nbextensions",
        "jupyter_core",
        "jupyter_events",
        "jupyter_highlight_selected_word",
        "jupyter_kernel_gateway",
        "jupyter_latex_envs",
        "jupyter_nbextensions_configurator",
        "jupyter_server",
        "jupyter_server_fileid",
        "jupyter_server_terminals",
        "jupyter_server_ydoc",
        "jupyter_sphinx",
        "jupyter_telemetry",
        "jupyter_ydoc",
        "jupyterlab_pygments",
        "jupyterlab_server",
        "jupyterlab_widgets",
        "keras_applications",
        "line_profiler",
        "memory_profiler",
        "nb_black",
        "pandas_market_calendars",
        "prometheus_client",
        "prompt_toolkit",
        "pure_eval",
        "pyproject_hooks",
        "pyviz_comms",
        "rfc3339_validator",
        "setuptools_scm",
        "sphinx_rtd_theme",
        "stack_data",
        "typing_extensions",
        "typing_inspect",
    )
)


def conda_names(name: str) -> tuple[str, ...]:
    """Other names under which conda-forge has the distribution with this normalised name."""
    renamed = [alias for alias, names in _RENAMED.items() if name in names]
    underscored = name.replace("-", "_")
    if underscored != name and underscored in _UNDERSCORED:
        renamed.append(underscored)
    return tuple(renamed)


def parse_alias(text: str) -> tuple[str, str]:
    """Split `NAME=DISTRIBUTION`, the form of `--alias`; raises `UsageError` for another."""
    alias, separator, name = (part.strip() for part in text.partition("="))
    if not separator or not alias or not name or "=" in name:
        raise UsageError(
            f"not an alias: {text!r}",
            hint="write NAME=DISTRIBUTION, as in matplotlib-base=matplotlib",
        )
    return alias.lower(), canonicalize_name(name)


def alias_packages(
    distributions: Sequence[tuple[str, str]], wanted: Sequence[tuple[str, str]], folder: Path
) -> Iterator[tuple[Path, bool]]:
    """Write the metapackages for (name, version) pairs; each one's path, and whether it is new.

    `wanted` are (alias, name) pairs beyond the built-in ones; they may name what an earlier run put
    into the channel `folder`. Raises `UsageError` for a name that is nowhere, and for an alias that
    is a distribution's own name.
    """
    names = {name for name, _ in distributions}
    earlier = _earlier(folder)
    for alias, name in wanted:
        if name not in names and name not in earlier:
            raise UsageError(
                f"no such distribution to call {alias}: {name}",
                hint=f"add {name} to the requirements, or check its name",
            )
        if alias == name or canonicalize_name(alias) in names - {name}:
            raise UsageError(f"{alias} is a distribution's own name", hint="choose another alias")
    known = {(name, conda_version(version)) for name, version in distributions}
    asked = {name for _, name in wanted} - names
    known |= {(name, version) for name in asked for version in earlier[name]}
    for name, version in sorted(known):
        others = {alias for alias, target in wanted if target == name}
        others |= {one for one in conda_names(name) if canonicalize_name(one) not in names - {name}}
        for alias in sorted(others):
            yield _alias_package(alias, name, version, folder)


def _alias_package(alias: str, name: str, version: str, folder: Path) -> tuple[Path, bool]:
    info = PackageInfo(
        name=alias,
        version=version,
        build=f"alias_{name.replace('-', '_')}_0",
        subdir="noarch",
        noarch="generic",
        depends=(f"{name} =={version}",),
        timestamp=1_700_000_000_000,
        summary=f"Another name for {name}",
    )
    target = folder / info.subdir / info.file_name
    if target.exists():
        return target, False
    return write_conda_file(folder, info, ()), True


def _earlier(folder: Path) -> dict[str, set[str]]:
    """Names and versions of the packages in the channel, from their file names."""
    found: dict[str, set[str]] = {}
    for path in folder.glob("*/*.conda"):
        name, version, _build = path.name.rsplit("-", 2)
        found.setdefault(name, set()).add(version)
    return found
