"""The experiments: who competes, and the rows of the table."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.experiment import Claim, Experiment
from benchmarks.ground import EXTRAS, LARGE, PROGRAMS, SMALL, Ground, Size
from benchmarks.harness import Task
from benchmarks.hub import hub
from benchmarks.installing import installing, kill_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.experiment import Check, Makers
    from benchmarks.harness import Contender
    from benchmarks.row import Kind

__all__ = ["all_experiments"]


def all_experiments() -> tuple[Experiment, ...]:
    """Return them all, in the table's order."""
    sizes = (SMALL, LARGE)
    return (
        *(_pack(size) for size in sizes),
        *(_unpack(size) for size in sizes),
        _start(),
        *(_build(size) for size in sizes),
        *(_add(size) for size in sizes),
        *(_first(size) for size in sizes),
        *(_imports(size) for size in sizes),
        *(_kernel(size) for size in sizes),
        *(experiment for size in sizes for experiment in installing(size)),
        *hub(),
        kill_points(),
    )


# --- pack --------------------------------------------------------------------------------------


def _pack(size: Size) -> Experiment:
    gz, zst, tar = "conda-pack's tar.gz", "conda-pack's tar.zst", "tar | zstd -3 -T0"
    pack, bare = "pack, tar.zst", "the same pack without it"
    ours = "reespack"
    row = f"[{size.name}]"

    def claim(  # noqa: PLR0913 - a row of a table
        name: str, what: str, against: str, kind: Kind, limit: float, *, who: str = ours,
        peer: str, size: bool = False, check: Check | None = None,
    ) -> Claim:  # fmt: skip
        return Claim(
            name=name + row, what=what, against=against, kind=kind, limit=limit, ours=who,
            peer=peer, size=size, check=check,
        )  # fmt: skip

    def has_bytecode(ground: Ground) -> str | None:
        found = any((_built(ground, size) / "lib").rglob("*.pyc"))
        return None if found else "the build's archive has no bytecode"

    with_it = "reespack, bytecode"
    without = "reespack, none"
    claims = (
        claim("pack-gz", pack, gz, "speedup", 5, peer="conda-pack tar.gz"),
        claim("pack-gz-size", f"{pack}: size", gz, "ratio", 1, peer="conda-pack tar.gz", size=True),
        claim("pack-zst", pack, zst, "speedup", 3.5, peer="conda-pack tar.zst"),
        claim(
            "pack-zst-size", f"{pack}: size", zst, "ratio", 1.1, peer="conda-pack tar.zst",
            size=True,
        ),
        claim("pack-tar", pack, tar, "ratio", 1.25, peer="tar"),
        claim(
            "bytecode", "pack with bytecode", bare, "ratio", 1.3, who=with_it, peer=without,
            check=has_bytecode,
        ),
        claim(
            "bytecode-size", "bytecode: size", bare, "ratio", 1.25, who=with_it, peer=without,
            size=True, check=has_bytecode,
        ),
    )  # fmt: skip

    def contenders(ground: Ground) -> Makers:
        def packer(prefix: Path, name: str, *command: str | Path) -> Contender:
            def task(turn: int) -> Task:
                archive = ground.work / f"pack-{size.name}-{turn}-{name}"
                words = (*command, archive)
                return Task(
                    command=words,
                    cwd=prefix.parent,
                    inputs=(prefix,),
                    output=archive,
                    leftovers=(archive,),
                )

            return task

        def own(
            environment: Callable[[Ground, Size], Path], name: str, bytecode: str = "none"
        ) -> Contender:
            prefix = environment(ground, size)
            script = PROGRAMS / "pack_prefix.py"
            words = (ground.python, script, ground.platform, prefix, bytecode)
            return packer(prefix, name, *words)

        def peer(name: str, *command: str | Path) -> Contender:
            return packer(_as_installed(ground, size), name, *command)

        conda_pack = (ground.program("conda-pack"), "--prefix", "env", "--output")
        pipe = 'tar -cf - env | zstd -3 -T0 > "$1"'
        return {
            ours: lambda: own(_as_installed, "ours.tar.zst"),
            "conda-pack tar.gz": lambda: peer("peer.tar.gz", *conda_pack),
            "conda-pack tar.zst": lambda: peer("peer.tar.zst", *conda_pack),
            "tar": lambda: peer("plain.tar.zst", "sh", "-c", pipe, "sh"),
            with_it: lambda: own(_built, "with.tar.zst", f"{ground.work}/bytecode"),
            without: lambda: own(_built, "without.tar.zst"),
        }

    return Experiment(name=f"pack{row}", claims=claims, contenders=contenders)


def _as_installed(ground: Ground, size: Size) -> Path:
    """Return the environment that the pipeline installed."""
    return ground.peer_build(size) / "env"


def _built(ground: Ground, size: Size) -> Path:
    """Return the environment that reespack builds, unpacked."""
    target = ground.work / f"built-{size.name}"
    if not target.exists():
        ground.run(*ground.unpack_command(size, target))
    return target


# --- unpack ------------------------------------------------------------------------------------


def _unpack(size: Size) -> Experiment:
    what = "unpack, prefixes mended"
    row = f"[{size.name}]"
    claims = (
        Claim(
            name=f"unpack-zst{row}", what=what, against="tar -I zstd -xf; conda-unpack",
            kind="ratio", limit=0.8, ours="reespack", peer="tar.zst",
        ),
        Claim(
            name=f"unpack-gz{row}", what=what, against="tar -xzf; conda-unpack",
            kind="ratio", limit=0.35, ours="reespack", peer="tar.gz",
        ),
    )  # fmt: skip

    def contenders(ground: Ground) -> Makers:
        def own() -> Contender:
            def task(turn: int) -> Task:
                target = ground.work / f"unpack-{size.name}-{turn}-ours"
                return Task(
                    command=ground.unpack_command(size, target),
                    inputs=(ground.archive(size),),
                    leftovers=(target,),
                )

            return task

        def peer(archive: str) -> Contender:
            packed = ground.peer_build(size) / archive

            def task(turn: int) -> Task:
                target = ground.work / f"unpack-{size.name}-{turn}-{archive}"
                target.mkdir()
                command = ground.peer_unpack_command(packed, target)
                return Task(command=command, inputs=(packed,), leftovers=(target,))

            return task

        return {
            "reespack": own,
            "tar.zst": lambda: peer("env.tar.zst"),
            "tar.gz": lambda: peer("env.tar.gz"),
        }

    times = 2 if size is SMALL else 1  # the other takes long enough, and much room
    return Experiment(name=f"unpack{row}", claims=claims, contenders=contenders, times=times)


# --- start -------------------------------------------------------------------------------------


def _start() -> Experiment:
    def claim(name: str, what: str, ours: str) -> Claim:
        return Claim(
            name=name, what=what, against="python -c pass", kind="difference", limit=0.150,
            ours=ours, peer="python",
        )  # fmt: skip

    claims = (
        claim("rebuild[small]", "unchanged rebuild", "rebuild small"),
        claim("rebuild[large]", "unchanged rebuild", "rebuild large"),
        claim("help", "reespack --help", "help"),
        claim("detect", "reespack detect", "detect"),
    )

    def contenders(ground: Ground) -> Makers:
        reespack = ground.program("reespack")

        def always(*command: str | Path, environ: dict[str, str] | None = None) -> Contender:
            return lambda _turn: Task(command=command, environ=environ or {})

        def detect() -> Contender:
            environ = ground.environ(ground.build(SMALL) / "cache")
            return always(reespack, "detect", ground.repository(SMALL), environ=environ)

        def rebuild(size: Size) -> Contender:
            built = ground.build(size)
            command = ground.build_command(ground.repository(size), built / "dist")
            return always(*command, environ=ground.environ(built / "cache"))

        return {
            "python": lambda: always(ground.python, "-c", "pass"),
            "help": lambda: always(reespack, "--help"),
            "detect": detect,
            "rebuild small": lambda: rebuild(SMALL),
            "rebuild large": lambda: rebuild(LARGE),
        }

    return Experiment(name="start", claims=claims, contenders=contenders, times=9)


# --- builds ------------------------------------------------------------------------------------

_PIPELINE = "conda-lock, rattler, uv, conda-pack"


def _build_claims(name: str, size: Size, what: str, limit: float) -> tuple[Claim, ...]:
    row = f"[{size.name}]"
    return (
        Claim(
            name=f"{name}{row}", what=what, against=_PIPELINE, kind="ratio", limit=limit,
            ours="reespack", peer="pipeline",
        ),
        Claim(
            name=f"{name}-memory{row}", what=f"{what}: memory", against="-", kind="memory",
            limit=400e6, ours="reespack",
        ),
    )  # fmt: skip


def _sides(
    name: str, size: Size, caches: Callable[[Ground, str, str], Path], *, extras: bool = False
) -> Callable[[Ground], Makers]:
    """Return both sides of a build.

    `caches` gets a side ("reespack" or "peer") and the name of a folder for a run, and returns the
    cache to begin with. With `extras` each run requires one package more, another each time.
    """

    def contenders(ground: Ground) -> Makers:
        def extra(turn: int) -> str | None:
            return EXTRAS[turn] if extras else None

        def ours(turn: int) -> Task:
            run = f"{name}-{size.name}-{turn}-ours"
            repository = ground.repository(size, name=f"{name}-{size.name}", extra=extra(turn))
            output, cache = ground.work / run, caches(ground, "reespack", f"{run}-cache")
            return Task(
                command=ground.build_command(repository, output),
                environ=ground.environ(cache),
                inputs=(cache,),
                leftovers=(output, cache),
            )

        def peer(turn: int) -> Task:
            run = f"{name}-{size.name}-{turn}-peer"
            given = ground.peer_input(size, name=f"{name}-{size.name}", extra=extra(turn))
            work, cache = ground.work / run, caches(ground, "peer", f"{run}-cache")
            work.mkdir()
            return Task(
                command=ground.peer_command(given, work, cache),
                environ=ground.environ(cache),
                inputs=(cache,),
                leftovers=(work, cache),
            )

        return {"reespack": lambda: ours, "pipeline": lambda: peer}

    return contenders


def _build(size: Size) -> Experiment:
    def caches(ground: Ground, side: str, folder: str) -> Path:
        cache = ground.snapshot(side, size, folder)
        ground.forget_all_but_packages(cache)
        return cache

    claims = _build_claims("build", size, "build, packages cached", 0.45)
    contenders = _sides("build", size, caches)
    return Experiment(name=f"build[{size.name}]", claims=claims, contenders=contenders)


def _add(size: Size) -> Experiment:
    def caches(ground: Ground, side: str, folder: str) -> Path:
        return ground.snapshot(side, size, folder)

    claims = _build_claims("add", size, "one requirement added", 0.4)
    contenders = _sides("add", size, caches, extras=True)
    most = len(EXTRAS) - 1
    return Experiment(name=f"add[{size.name}]", claims=claims, contenders=contenders, most=most)


def _first(size: Size) -> Experiment:
    def caches(ground: Ground, _side: str, folder: str) -> Path:
        return ground.work / folder

    claims = _build_claims("first", size, "very first build", 1.3)
    contenders = _sides("first", size, caches)
    return Experiment(name=f"first[{size.name}]", claims=claims, contenders=contenders)


# --- the environment at work -------------------------------------------------------------------


def _held_by_permissions() -> tuple[str, ...]:
    """Return what to put before a command that permissions are to stop from writing.

    They do not stop root, who has a capability for that (capabilities(7)): it is taken away.
    """
    return () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override")


def _settings(ground: Ground) -> dict[str, str]:
    """Return where programs of an environment that is read-only may write."""
    return {
        "MPLCONFIGDIR": str(ground.work / "matplotlib"),
        "IPYTHONDIR": str(ground.work / "ipython"),
    }


_IMPORTS = "import jupyterlab, ipykernel; import pandas, scipy, matplotlib, sklearn"


def _imports(size: Size) -> Experiment:
    claim = Claim(
        name=f"import[{size.name}]", what=_IMPORTS, against="packed by conda-pack", kind="ratio",
        limit=0.45, ours="reespack", peer="conda-pack",
    )  # fmt: skip

    def contenders(ground: Ground) -> Makers:
        def imports(unpacked: Callable[[Size], Path]) -> Contender:
            environment = unpacked(size) / "env"
            python = environment / "bin" / "python"
            task = Task(
                command=(*_held_by_permissions(), python, "-c", _IMPORTS),
                environ=_settings(ground),
                inputs=(environment,),
            )
            return lambda _turn: task

        return {
            "reespack": partial(imports, ground.unpacked),
            "conda-pack": partial(imports, ground.peer_unpacked),
        }

    return Experiment(name=f"imports[{size.name}]", claims=(claim,), contenders=contenders, times=2)


def _kernel(size: Size) -> Experiment:
    claim = Claim(
        name=f"kernel[{size.name}]", what="kernel start to first reply",
        against="packed by conda-pack", kind="ratio", limit=0.6, ours="reespack",
        peer="conda-pack",
    )  # fmt: skip

    def contenders(ground: Ground) -> Makers:
        def first_reply(unpacked: Callable[[Size], Path]) -> Contender:
            environment = unpacked(size) / "env"
            words = (ground.python, PROGRAMS / "first_reply.py", environment)
            task = Task(
                command=(*_held_by_permissions(), *words),
                environ=_settings(ground),
                inputs=(environment,),
                reports=True,
            )
            return lambda _turn: task

        return {
            "reespack": partial(first_reply, ground.unpacked),
            "conda-pack": partial(first_reply, ground.peer_unpacked),
        }

    return Experiment(name=f"kernel[{size.name}]", claims=(claim,), contenders=contenders, times=2)
