"""The experiments: who competes, and the rows of the table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from benchmarks.experiment import Claim, Experiment
from benchmarks.ground import EXTRAS, LARGE, PROGRAMS, SMALL, Ground, Size
from benchmarks.harness import Contender, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.experiment import Check, Makers
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
        found = any((_with_bytecode(ground, size) / "lib").rglob("*.pyc"))
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
        out = ground.work / f"pack-{size.name}"
        remove(out)
        out.mkdir()
        conda_pack = (ground.program("conda-pack"), "--prefix", "env", "--output")
        pipe = 'tar -cf - "$1" | zstd -3 -T0 > "$2"'

        def packer(command: Sequence[str | Path], archive: str) -> Contender:
            target = out / archive
            return Contender(
                command=(*command, target),
                before=lambda _turn: remove(target),
                output=target,
                cwd=ground.peer_build(size),
            )

        def own(prefix: Path, archive: str) -> Contender:
            script = (ground.python, PROGRAMS / "pack_prefix.py", prefix, out / archive)
            return Contender(
                command=(*script, ground.platform),
                before=lambda _turn: remove(out / archive),
                output=out / archive,
            )

        return {
            ours: lambda: own(ground.peer_build(size) / "env", "ours.tar.zst"),
            "conda-pack tar.gz": lambda: packer(conda_pack, "peer.tar.gz"),
            "conda-pack tar.zst": lambda: packer(conda_pack, "peer.tar.zst"),
            "tar": lambda: packer(("sh", "-c", pipe, "sh", "env"), "plain.tar.zst"),
            with_it: lambda: own(_with_bytecode(ground, size), "with.tar.zst"),
            without: lambda: own(_without_bytecode(ground, size), "without.tar.zst"),
        }

    return Experiment(name=f"pack{row}", claims=claims, contenders=contenders)


def _with_bytecode(ground: Ground, size: Size) -> Path:
    """Return the environment that reespack builds, bytecode included."""
    target = ground.work / f"bytecode-{size.name}" / "with"
    if not target.exists():
        ground.run(*ground.unpack_command(size, target))
    return target


def _without_bytecode(ground: Ground, size: Size) -> Path:
    """Return the same environment, its bytecode deleted."""
    target = ground.work / f"bytecode-{size.name}" / "without"
    if not target.exists():
        ground.run(*ground.unpack_command(size, target))
        remove(*list(target.rglob("__pycache__")))
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
        target = ground.work / "unpack"

        def fresh(_turn: int) -> None:
            remove(target)
            target.mkdir()

        def peer(archive: str) -> Contender:
            return Contender(
                command=ground.peer_unpack_command(ground.peer_build(size) / archive, target),
                before=fresh,
                after=lambda _turn: remove(target),
            )

        return {
            "reespack": lambda: Contender(
                command=ground.unpack_command(size, target),
                before=lambda _turn: remove(target),
                after=lambda _turn: remove(target),
            ),
            "tar.zst": lambda: peer("env.tar.zst"),
            "tar.gz": lambda: peer("env.tar.gz"),
        }

    return Experiment(name=f"unpack{row}", claims=claims, contenders=contenders)


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

        def rebuild(size: Size) -> Contender:
            built = ground.build(size)
            return Contender(
                command=ground.build_command(ground.repository(size), built / "dist"),
                environ=ground.environ(built / "cache"),
            )

        return {
            "python": lambda: Contender(command=(ground.python, "-c", "pass")),
            "help": lambda: Contender(command=(reespack, "--help")),
            "detect": lambda: Contender(
                command=(reespack, "detect", ground.repository(SMALL)),
                environ=ground.environ(ground.build(SMALL) / "cache"),
            ),
            "rebuild small": lambda: rebuild(SMALL),
            "rebuild large": lambda: rebuild(LARGE),
        }

    return Experiment(name="start", claims=claims, contenders=contenders, times=3)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Both sides of a build: their caches, and folders for what comes out."""

    ground: Ground
    size: Size
    name: str

    def contenders(
        self,
        *,
        ours: Callable[[], Path],
        peer: Callable[[], Path],
        prepare: Callable[[Path], None] = lambda _cache: None,
        extra: Callable[[int], str | None] = lambda _turn: None,
    ) -> Makers:
        """Return both.

        `ours` and `peer` return the caches; `prepare` gets the cache before each run; `extra`
        names a requirement that the run adds.
        """
        ground, name = self.ground, f"{self.name}-{self.size.name}"
        output, work = ground.work / f"{name}-dist", ground.work / f"{name}-peer"

        def before(turn: int) -> None:
            ground.repository(self.size, name=name, extra=extra(turn))
            remove(output)
            prepare(ours())

        def peer_before(turn: int) -> None:
            ground.peer_input(self.size, name=name, extra=extra(turn))
            remove(work)
            work.mkdir()
            prepare(peer())

        return {
            "reespack": lambda: Contender(
                command=ground.build_command(ground.repository(self.size, name=name), output),
                environ=ground.environ(ours()),
                before=before,
                after=lambda _turn: remove(output),
            ),
            "pipeline": lambda: Contender(
                command=ground.peer_command(ground.peer_input(self.size, name=name), work, peer()),
                environ=ground.environ(peer()),
                before=peer_before,
                after=lambda _turn: remove(work),
            ),
        }


def _build(size: Size) -> Experiment:
    def contenders(ground: Ground) -> Makers:
        return _Sides(ground=ground, size=size, name="build").contenders(
            ours=cache(lambda: ground.snapshot(ground.build(size), f"build-{size.name}")),
            peer=cache(lambda: ground.snapshot(ground.peer_build(size), f"build-peer-{size.name}")),
            prepare=ground.forget_all_but_packages,
        )

    claims = _build_claims("build", size, "build, packages cached", 0.45)
    return Experiment(name=f"build[{size.name}]", claims=claims, contenders=contenders)


def _add(size: Size) -> Experiment:
    def contenders(ground: Ground) -> Makers:
        return _Sides(ground=ground, size=size, name="add").contenders(
            ours=cache(lambda: ground.snapshot(ground.build(size), f"add-{size.name}")),
            peer=cache(lambda: ground.snapshot(ground.peer_build(size), f"add-peer-{size.name}")),
            extra=lambda turn: EXTRAS[turn],
        )

    claims = _build_claims("add", size, "one requirement added", 0.4)
    most = len(EXTRAS) - 1  # one more than once would come from the cache
    return Experiment(name=f"add[{size.name}]", claims=claims, contenders=contenders, most=most)


def _first(size: Size) -> Experiment:
    def contenders(ground: Ground) -> Makers:
        return _Sides(ground=ground, size=size, name="first").contenders(
            ours=lambda: ground.work / "first-cache",
            peer=lambda: ground.work / "first-cache-peer",
            prepare=remove,
        )

    claims = _build_claims("first", size, "very first build", 1.3)
    return Experiment(name=f"first[{size.name}]", claims=claims, contenders=contenders)


# --- the environment at work -------------------------------------------------------------------


def _read_only(ground: Ground) -> dict[str, str]:
    """Return what makes an environment read-only for root too, whom no permission stops."""
    settings = {"MPLCONFIGDIR": str(ground.work / "matplotlib")}
    return settings if os.geteuid() else {**settings, "PYTHONDONTWRITEBYTECODE": "1"}


def _imports(size: Size) -> Experiment:
    modules = {
        "jupyterlab": "import jupyterlab, ipykernel",
        "science": "import pandas, scipy, matplotlib, sklearn",
    }
    claims = tuple(
        Claim(
            name=f"import-{name}[{size.name}]", what=code, against="packed by conda-pack",
            kind="ratio", limit=0.45, ours=f"reespack, {name}", peer=f"conda-pack, {name}",
        )
        for name, code in modules.items()
    )  # fmt: skip

    def contenders(ground: Ground) -> Makers:
        def imports(unpacked: Callable[[Size], Path], code: str) -> Contender:
            python = unpacked(size) / "env" / "bin" / "python"
            return Contender(command=(python, "-c", code), environ=_read_only(ground))

        sides = {"reespack": ground.unpacked, "conda-pack": ground.peer_unpacked}
        return {
            f"{side}, {name}": partial(imports, unpacked, code)
            for name, code in modules.items()
            for side, unpacked in sides.items()
        }

    return Experiment(name=f"imports[{size.name}]", claims=claims, contenders=contenders, times=2)


def _kernel(size: Size) -> Experiment:
    claim = Claim(
        name=f"kernel[{size.name}]", what="kernel start to first reply",
        against="packed by conda-pack", kind="ratio", limit=0.6, ours="reespack",
        peer="conda-pack",
    )  # fmt: skip

    def contenders(ground: Ground) -> Makers:
        def first_reply(unpacked: Callable[[Size], Path]) -> Contender:
            return Contender(
                command=(ground.python, PROGRAMS / "first_reply.py", unpacked(size) / "env"),
                environ={**_read_only(ground), "IPYTHONDIR": str(ground.work / "ipython")},
                reports=True,
            )

        return {
            "reespack": partial(first_reply, ground.unpacked),
            "conda-pack": partial(first_reply, ground.peer_unpacked),
        }

    return Experiment(name=f"kernel[{size.name}]", claims=(claim,), contenders=contenders, times=2)
