"""Rows for environments where they run: one `reespack exec`, and many at the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.experiment import Claim, Experiment
from benchmarks.ground import PROGRAMS
from benchmarks.harness import Task

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.experiment import Check, Makers
    from benchmarks.ground import Ground, Size
    from benchmarks.harness import Contender

__all__ = ["installing", "kill_points"]

_AT_ONCE = """
n=$1; log=$2; shift 2
while [ "$n" -gt 0 ]; do
    "$@" 2>>"$log" &
    n=$((n - 1))
done
wait
"""
_NAIVE = (
    'mkdir "$2" && tar -I zstd -xf "$1" -C "$2" && "$2/bin/conda-unpack" && "$2/bin/python" -c pass'
)


def installing(size: Size) -> tuple[Experiment, ...]:
    """Return the experiments with a fresh store each time, and with one that is filled."""
    return _first(size), _later(size)


def _first(size: Size) -> Experiment:
    row = f"[{size.name}]"
    naive = "tar -xf && conda-unpack"

    def many(count: int, limit: float, how: str = "reespack") -> Claim:
        name = f"exec-{count}" if how == "reespack" else f"run.sh-{count}"
        return Claim(
            name=name + row,
            what=f"{count} exec at once, first: CPU",
            against=f"{count} x ({naive})",
            kind="speedup",
            limit=limit,
            ours=f"{how} {count}",
            peer="naive",
            cpu=True,
            peer_times=count,
            check=_one_extraction(size, how, count),
        )

    first = Claim(
        name=f"exec-1{row}", what="exec, first", against=naive, kind="ratio", limit=1,
        ours="reespack 1", peer="naive", check=_one_extraction(size, "reespack", 1),
    )  # fmt: skip
    claims = (first, many(16, 5), many(64, 20), many(64, 20, "run.sh"))

    def contenders(ground: Ground) -> Makers:
        archive = ground.archive(size)

        def at_once(how: str, count: int) -> Contender:
            command: tuple[str | Path, ...] = (ground.program("reespack"), "exec", archive, "--")
            if how == "run.sh":
                command = (_run_script(ground, size),)

            def task(turn: int) -> Task:
                folder = _folder(ground, size, how, count, turn)
                folder.mkdir()
                words = ("sh", "-c", _AT_ONCE, "sh", str(count), f"{folder}.log")
                return Task(
                    command=(*words, *command, "python", "-c", "pass"),
                    environ={"REESPACK_STORE": str(folder / "store")},
                    inputs=(archive,),
                    leftovers=(folder,),
                )

            return task

        def naive_one(turn: int) -> Task:
            target = ground.work / f"naive-{size.name}-{turn}"
            words = ("sh", "-c", _NAIVE, "sh", archive, target)
            return Task(command=words, inputs=(archive,), leftovers=(target,))

        made: Makers = {
            f"{how} {count}": lambda how=how, count=count: at_once(how, count)  # type: ignore[misc]
            for how, count in (("reespack", 1), ("reespack", 16), ("reespack", 64), ("run.sh", 64))
        }
        return {**made, "naive": lambda: naive_one}

    return Experiment(name=f"exec{row}", claims=claims, contenders=contenders)


def _folder(ground: Ground, size: Size, how: str, count: int, turn: int) -> Path:
    return ground.work / f"exec-{size.name}-{how}-{count}-{turn}"


def _one_extraction(size: Size, how: str, count: int) -> Check:
    """Return what holds the runs to one extraction each."""

    def check(ground: Ground) -> str | None:
        found = [
            log.read_text(errors="replace").count("(once)")
            for log in ground.work.glob(f"exec-{size.name}-{how}-{count}-*.log")
        ]
        return None if found and set(found) == {1} else f"extractions by run: {found}"

    return check


def _run_script(ground: Ground, size: Size) -> Path:
    """Return the archive as a file that runs itself."""
    from reespack.kernelspec import write_run_script
    from reespack.manifest import archive_of, parse_manifest

    archive = ground.archive(size)
    stem = archive.name.removesuffix(".tar.zst")
    manifest = parse_manifest(archive.with_name(f"{stem}.manifest.json").read_bytes())
    target = ground.work / f"{stem}.run.sh"
    return write_run_script(target, archive=archive_of(manifest, archive))


def _later(size: Size) -> Experiment:
    row = f"[{size.name}]"
    claims = tuple(
        Claim(
            name=f"{name}{row}",
            what=f"{what}, later",
            against="the same command without it",
            kind="difference",
            limit=0.100,
            ours=what,
            peer="without",
        )
        for name, what in (("exec-later", "reespack exec"), ("run.sh-later", "run.sh"))
    )

    def contenders(ground: Ground) -> Makers:
        store = ground.work / f"store-{size.name}"
        environ = {"REESPACK_STORE": str(store)}
        reespack = ground.program("reespack")
        archive = ground.archive(size)
        ground.run(reespack, "stage", archive, environ=environ)
        (environment,) = (path for path in store.iterdir() if not path.name.startswith("."))

        def always(*command: str | Path) -> Contender:
            words = (*command, "python", "-c", "pass")
            task = Task(command=words, environ=environ, inputs=(environment,))
            return lambda _turn: task

        return {
            "reespack exec": lambda: always(reespack, "exec", archive, "--"),
            "run.sh": lambda: always(_run_script(ground, size)),
            "without": lambda: always(environment / "share/reespack/exec"),
        }

    return Experiment(name=f"later{row}", claims=claims, contenders=contenders, times=3)


def kill_points() -> Experiment:
    """Return the experiment that kills before every call that changes a file of the store."""

    def check(ground: Ground) -> str | None:
        problems = (ground.work / "kill-points.txt").read_text().splitlines()
        return f"{len(problems)} of them left something broken: {problems[0]}" if problems else None

    claim = Claim(
        name="kill-points", what="killed while unpacking, or in gc", against="0 broken",
        kind="count", limit=200, ours="reespack", check=check,
    )  # fmt: skip

    def contenders(ground: Ground) -> Makers:
        folder = ground.work / "kill-points"
        folder.mkdir()
        words = (ground.python, PROGRAMS / "kill_points.py", folder, f"{folder}.txt")
        return {"reespack": lambda: lambda _turn: Task(command=words, reports=True)}

    return Experiment(
        name="kill-points", claims=(claim,), contenders=contenders, most=1, warm_up=False
    )
