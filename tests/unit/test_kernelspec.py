from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from reespack.errors import InstallError
from reespack.installing import open_stores
from reespack.kernelspec import add_kernelspecs, write_launcher_kernelspec
from reespack.kernelspec.activation import environment_variables
from reespack.kernelspec.inside import kernel_name
from reespack.kernelspec.scripts import read_script, shell_text
from reespack.model import EnvironmentSpec, Repository
from reespack.products import Archive, Kernelspec, PlatformLock, Prefix
from reespack.store_settings import load_store_settings

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
PYTHON = {
    "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "interrupt_mode": "signal",
    "metadata": {"debugger": True},
    "kernel_protocol_version": "5.5",
}


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    """A prefix with a `python` that is a shell script, and one kernel."""
    path = tmp_path / "env"
    program(path / "bin" / "python", 'echo "python: $*"')
    put_kernel(path, "python3", PYTHON)
    (path / "share/jupyter/kernels/python3/logo-svg.svg").write_text("<svg/>")
    (path / "conda-meta").mkdir()
    return Prefix(path=path, lock=PlatformLock(platform="linux-64", conda=()))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive that nobody looks into."""
    return Archive(
        path=tmp_path / "a",
        format="tar.gz",
        sha256="0" * 64,
        size=0,
        unpacked_size=0,
        files=0,
        tree_digest="",
    )


def program(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)


def put_kernel(prefix: Path, name: str, content: dict[str, Any]) -> Path:
    folder = prefix / "share/jupyter/kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(content))
    return folder


def add(prefix: Prefix, *, start: str | None = None, **changes: Any) -> tuple[Kernelspec, ...]:  # noqa: ANN401 - any field
    top = prefix.path.parent / "repo"
    top.mkdir(exist_ok=True)
    if start is not None:
        (top / "start").write_bytes(start.encode())
        changes["start"] = "start"
    fields = {"name": "demo", "platform": "linux-64", "channels": (), **changes}
    repository = Repository(root=top, top=top, name="demo", source=".")
    return add_kernelspecs(prefix, EnvironmentSpec(**fields), repository=repository)


def kernel_json(prefix: Prefix, name: str) -> dict[str, Any]:
    content = (prefix.path / "share/jupyter/kernels" / name / "kernel.json").read_bytes()
    return dict(json.loads(content))


def run(shell: str, prefix: Prefix, *command: str, **variables: str) -> tuple[dict[str, str], str]:
    """Run `share/reespack/exec` with `shell`, and no other shell than it; return what it set."""
    ways = {"busybox": ["busybox", "sh"]}
    script = str(prefix.path / "share/reespack/exec")
    done = subprocess.run(
        [
            *ways.get(shell, [str(shutil.which(shell))]),
            script,
            *(command or ("/usr/bin/env", "-0")),
        ],
        env=variables,
        check=True,
        capture_output=True,
    )
    pairs = (one.partition("=") for one in done.stdout.decode().split("\0") if one)
    return {name: value for name, _, value in pairs}, done.stderr.decode()


def only(shell: str, prefix: Prefix) -> None:
    """Let `shell` be the only one that the script knows of."""
    script = prefix.path / "share/reespack/exec"
    text = script.read_text()
    places = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash")
    assert all(place in text for place in places)
    if shell != "bash":
        script.write_text(text.replace("/bin/bash", "/bin/no-bash"))


# --- kernel.json -------------------------------------------------------------------------------


def test_the_kernel_is_there_under_its_own_name_and_the_repositorys(prefix: Prefix) -> None:
    kernels = add(prefix, name="My Demo!")
    assert [(one.name, one.display_name) for one in kernels] == [
        ("my-demo", "My Demo! (Python 3)"),
        ("python3", "Python 3 (ipykernel)"),
    ]
    for one in kernels:
        content = kernel_json(prefix, one.name)
        assert content["argv"] == [
            "/bin/sh",
            "{resource_dir}/launch.sh",
            "@PREFIX@/bin/python",
            *PYTHON["argv"][1:],
        ]
        assert content["metadata"] == {
            "debugger": True,
            "reespack": {"name": "My Demo!", "kernel": "python3"},
        }
        assert content["interrupt_mode"] == "signal"
        assert content["kernel_protocol_version"] == "5.5"
        assert one.path == f"share/jupyter/kernels/{one.name}"
        assert (prefix.path / one.path / "logo-svg.svg").is_file()


def test_a_file_in_the_package_cache_is_left_as_it_was(prefix: Prefix, tmp_path: Path) -> None:
    cached = tmp_path / "cached.json"
    os.link(prefix.path / "share/jupyter/kernels/python3/kernel.json", cached)
    add(prefix)
    assert json.loads(cached.read_text()) == PYTHON


def test_a_second_time_changes_nothing(prefix: Prefix) -> None:
    put_kernel(prefix.path, "x", {**PYTHON, "env": {"X": f"{prefix.path}/x", "Y": "y"}})
    first = add(prefix)
    files = sorted(file for file in prefix.path.rglob("*") if file.is_file())
    before = [file.read_bytes() for file in files]
    assert add(prefix) == first
    assert sorted(file for file in prefix.path.rglob("*") if file.is_file()) == files
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize(
    ("argv", "made"),
    [
        (["{env}/bin/python", "-m", "x"], ["@PREFIX@/bin/python", "-m", "x"]),
        (["python3.12", "-m", "x"], ["@PREFIX@/bin/python", "-m", "x"]),
        (["R", "-e", "IRkernel::main()"], ["R", "-e", "IRkernel::main()"]),
        (["/bin/sh", "x"], ["/bin/sh", "x"]),
        (["python", "{prefix}/a:{env}/b"], ["@PREFIX@/bin/python", "@PREFIX@/a:@PREFIX@/b"]),
        (["{resource_dir}/run", "{x}"], ["{resource_dir}/run", "{x}"]),
    ],
)
def test_no_command_names_the_place_it_was_made_in(
    prefix: Prefix, argv: list[str], made: list[str]
) -> None:
    given = [arg.replace("{env}", str(prefix.path)) for arg in argv]
    put_kernel(prefix.path, "other", {**PYTHON, "argv": given})
    add(prefix)
    assert kernel_json(prefix, "other")["argv"][2:] == made


def test_variables_of_a_kernel_follow_the_environment(prefix: Prefix) -> None:
    put_kernel(prefix.path, "x", {**PYTHON, "env": {"X": f"a'b {prefix.path}/x", "Y": "${Y}"}})
    add(prefix)
    assert kernel_json(prefix, "x")["env"] == {"Y": "${Y}"}
    moved = prefix.path.rename(prefix.path.with_name("moved"))
    launch = moved / "share/jupyter/kernels/x/launch.sh"
    command = ["/bin/sh", launch, "/usr/bin/printenv", "X"]
    assert subprocess.check_output(command, env={}, text=True) == f"a'b {moved}/x\n"


def test_several_languages_the_specs_first_one_leads(prefix: Prefix) -> None:
    put_kernel(prefix.path, "ir", {**PYTHON, "language": "R", "display_name": "R"})
    kernels = add(prefix, languages=("r", "python"))
    assert [(one.name, one.display_name) for one in kernels] == [
        ("demo", "demo (R)"),
        ("demo-python3", "demo (Python 3)"),
        ("ir", "R"),
        ("python3", "Python 3 (ipykernel)"),
    ]


def test_a_repository_named_like_a_kernel_does_not_replace_it(prefix: Prefix) -> None:
    put_kernel(prefix.path, "ir", {**PYTHON, "language": "R", "display_name": "R"})
    kernels = add(prefix, name="ir")
    assert [one.name for one in kernels] == ["ir-python3", "ir-ir", "python3", "ir"]
    assert kernel_json(prefix, "ir")["language"] == "R"
    assert [one.name for one in add(prefix, name="python3")][:2] == ["python3", "python3-ir"]


def test_ipykernel_without_its_data_files_gets_a_kernelspec(prefix: Prefix) -> None:
    shutil.rmtree(prefix.path / "share")
    site = prefix.path / "lib/python3.12/site-packages"
    site.mkdir(parents=True)
    (site / "ipykernel_launcher.py").write_text("")
    assert [one.name for one in add(prefix)] == ["demo", "python3"]


def test_a_language_without_a_kernel_is_an_error_that_says_what_to_add(prefix: Prefix) -> None:
    with pytest.raises(InstallError, match="for r") as caught:
        add(prefix, languages=("python", "r"))
    assert "r-irkernel" in (caught.value.hint or "")


@pytest.mark.parametrize("content", ["{", "[]", '{"argv": []}', '{"argv": [1]}'])
def test_a_broken_kernelspec_is_named(prefix: Prefix, content: str) -> None:
    put_kernel(prefix.path, "bad", {})
    (prefix.path / "share/jupyter/kernels/bad/kernel.json").write_text(content)
    with pytest.raises(InstallError, match=r"share/jupyter/kernels/bad/kernel\.json"):
        add(prefix)


@pytest.mark.parametrize(
    ("name", "made"),
    [("My Repo", "my-repo"), ("a.b_c-d", "a.b_c-d"), ("..x", "x"), ("äö", "environment")],
)
def test_kernel_names_are_what_jupyter_allows(name: str, made: str) -> None:
    assert kernel_name(name) == made


def test_a_kernelspec_that_was_copied_away_says_so(prefix: Prefix, tmp_path: Path) -> None:
    add(prefix)
    away = shutil.copytree(prefix.path / "share/jupyter/kernels/demo", tmp_path / "k/demo")
    done = subprocess.run(
        ["/bin/sh", away / "launch.sh", "true"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 127
    assert "copied out of its environment" in done.stderr
    link = tmp_path / "k/link"
    link.symlink_to(prefix.path / "share/jupyter/kernels/demo")
    command = ["/bin/sh", link / "launch.sh", "@PREFIX@/bin/python", "@PREFIX@"]
    assert subprocess.check_output(command, text=True) == f"python: {prefix.path}\n"


# --- activation --------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_runs_activated_wherever_the_environment_lies(prefix: Prefix, shell: str) -> None:
    value = f'it\'s "{prefix.path}/x" $HOME `id`\n{prefix.path}'
    add(prefix, variables=(("V", value), ("EMPTY", "")))
    scripts = prefix.path / "etc/conda/activate.d"
    scripts.mkdir(parents=True)
    (scripts / "a.sh").write_text('set -eu\nexport A="$V-$#"\necho noise\n[ -n "" ] && true\n')
    (scripts / "b.sh").write_text("export B=$A${UNSET_VARIABLE}\nfalse\n")
    (scripts / "c.csh").write_text("exit 1\n")
    moved = prefix.path.rename(prefix.path.with_name("it is 'here'"))
    there = Prefix(path=moved, lock=prefix.lock)
    only(shell, there)
    seen, said = run(shell, there, PATH="", VIRTUAL_ENV="/v", PYTHONHOME="/h", PYTHONPATH="/p")
    assert seen["V"] == value.replace(str(prefix.path), str(moved))
    assert seen["EMPTY"] == ""
    assert seen["A"] == seen["B"] == f"{seen['V']}-0"
    assert seen["CONDA_PREFIX"] == seen["NB_PYTHON_PREFIX"] == str(moved)
    assert seen["PATH"] == f"{moved}/bin:/usr/local/bin:/usr/bin:/bin"
    assert not {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"} & set(seen)
    assert seen["PYTHONNOUSERSITE"] == "1"
    assert said == "noise\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("script", ["exit 3\n", "if then\n", "set -e\nexit 1\n"])
def test_an_activation_script_that_fails_does_not_stop_the_command(
    prefix: Prefix, shell: str, script: str
) -> None:
    add(prefix, start='#!/bin/sh\nSTARTED="$*" exec "$@"\n')
    scripts = prefix.path / "etc/conda/activate.d"
    scripts.mkdir(parents=True)
    (scripts / "a.sh").write_text("export A=1\n")
    (scripts / "b.sh").write_text(script)
    only(shell, prefix)
    seen, said = run(shell, prefix, "/usr/bin/env", "-0", "X=a  b")
    assert (seen["A"], seen["X"]) == ("1", "a  b")
    assert seen["STARTED"] == "/usr/bin/env -0 X=a  b"
    assert "b.sh" in said


def test_the_environment_that_was_active_goes_first(prefix: Prefix, tmp_path: Path) -> None:
    add(prefix)
    other = tmp_path / "other"
    (other / "etc/conda/deactivate.d").mkdir(parents=True)
    (other / "etc/conda/deactivate.d/x.sh").write_text("unset FROM_OTHER\n")
    seen, _ = run(
        "bash",
        prefix,
        PATH=f"{other}/bin:/first:{other}/bin:/usr/bin",
        CONDA_PREFIX=str(other),
        FROM_OTHER="1",
    )
    assert seen["PATH"] == f"{prefix.path}/bin:/first:/usr/bin"
    assert "FROM_OTHER" not in seen


def test_without_isolation_the_callers_modules_stay(prefix: Prefix) -> None:
    add(prefix)
    seen, _ = run("bash", prefix, PYTHONPATH="/p", REESPACK_ISOLATE="0")
    assert seen["PYTHONPATH"] == "/p"
    assert "PYTHONNOUSERSITE" not in seen


def test_what_the_callers_bash_would_run_is_not_run_but_passed_on(
    prefix: Prefix, tmp_path: Path
) -> None:
    add(prefix)
    (tmp_path / "rc").write_text("export FROM_RC=1\n")
    seen, _ = run("bash", prefix, BASH_ENV=str(tmp_path / "rc"), CDPATH="/usr")
    assert (seen["BASH_ENV"], seen["CDPATH"]) == (str(tmp_path / "rc"), "/usr")
    assert seen.get("FROM_RC") in {None, "1"}


def test_closed_streams_do_not_keep_a_command_from_starting(prefix: Prefix) -> None:
    add(prefix, variables=(("V", "v"),))
    script = prefix.path / "share/reespack/exec"
    seen = prefix.path / "seen"
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        shell = f'"{script}" /bin/sh -c \'printf %s "$V" > "$0"\' "{seen}" {closed}'
        subprocess.run(["/bin/sh", "-c", shell], check=True)
        assert seen.read_text() == "v"
        seen.unlink()


def test_conda_variables_come_from_files_then_state_then_the_spec(prefix: Prefix) -> None:
    folder = prefix.path / "etc/conda/env_vars.d"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"A": "a", "B": "a", "C": "a", "no name": "x"}')
    state = {"env_vars": {"B": "state", "C": "state", "GONE": "***unset***"}}
    (prefix.path / "conda-meta/state").write_text(json.dumps(state))
    assert environment_variables(prefix.path)["B"] == "state"
    add(prefix, variables=(("C", "spec"),))
    seen, _ = run("bash", prefix, GONE="here")
    assert [seen["A"], seen["B"], seen["C"]] == ["a", "state", "spec"]
    assert "GONE" not in seen
    (folder / "b.json").write_text("{")
    with pytest.raises(InstallError, match=r"etc/conda/env_vars\.d/b\.json"):
        add(prefix)


@pytest.mark.parametrize(
    "value", ["", "plain", "a b'c\"d\\e$f`g`\nh", "/p", "/p/x:/p", "x/py", "*"]
)
def test_shell_text_means_the_value_with_the_variable_in_it(value: str) -> None:
    text = shell_text(value, prefix="/p", variable="v")
    script = f"v='/new place'; printf %s {text}"
    shown = subprocess.check_output(["/bin/sh", "-c", script], text=True)
    assert shown == value.replace("/p", "/new place")


# --- start -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '#!/bin/bash\nexport S="$# $REPO_DIR"\nexec "$@"\n',
        '#!/bin/bash\r\nexport S="$# $REPO_DIR"\r\nexec "$@"\r\n',
        'x=("$# $REPO_DIR")\nexport S="${x[0]}"\nexec "$@"\n',
    ],
    ids=["shebang", "crlf", "none"],
)
def test_start_gets_the_command_and_the_folder(prefix: Prefix, text: str, tmp_path: Path) -> None:
    add(prefix, start=text)
    seen, _ = run("dash" if "dash" in SHELLS else "bash", prefix)
    assert seen["S"] == f"2 {os.getcwd()}"  # noqa: PTH109 - as the shell has it
    seen, _ = run("bash", prefix, REPO_DIR=str(tmp_path))
    assert seen["S"] == f"2 {tmp_path}"


def test_start_in_a_login_shell_does_not_lose_the_environment(prefix: Prefix) -> None:
    add(prefix, start='#!/bin/bash -l\nexport S=1 PATH=/usr/bin:/bin\nexec "$@"\n')
    seen, _ = run("bash", prefix, HOME="/nowhere")
    assert seen["S"] == "1"
    assert seen["PATH"] == f"{prefix.path}/bin:/usr/bin:/bin"


def test_inside_a_session_start_and_activation_are_not_run_again(prefix: Prefix) -> None:
    add(prefix, start='#!/bin/bash\nexport S=x$S V=start\nexec "$@"\n', variables=(("V", "v"),))
    again = str(prefix.path / "share/reespack/exec")
    seen, _ = run("bash", prefix, again, "/usr/bin/env", "-0")
    assert (seen["S"], seen["V"]) == ("x", "start")


def test_a_start_that_is_gone_from_the_repository_goes(prefix: Prefix) -> None:
    add(prefix, start="#!/bin/sh\nexit 9\n")
    add(prefix)
    assert run("bash", prefix)[0]["CONDA_PREFIX"] == str(prefix.path)


# --- the launcher ------------------------------------------------------------------------------


def test_the_emitted_folder_knows_its_archive(
    prefix: Prefix, archive: Archive, tmp_path: Path
) -> None:
    (kernel, *_) = add(prefix)
    archive = dataclasses.replace(archive, path=tmp_path / "it's.tar.zst", sha256="ab" * 32)
    source = prefix.path / kernel.path
    target = write_launcher_kernelspec(tmp_path / "k", kernel, archive=archive, source=source)
    assert sorted(file.name for file in target.iterdir()) == [
        "archive.sh",
        "kernel.json",
        "launch.sh",
        "logo-svg.svg",
    ]
    content = json.loads((target / "kernel.json").read_bytes())
    assert content["argv"] == kernel_json(prefix, kernel.name)["argv"]
    assert content["metadata"]["reespack"]["archive"]["path"] == str(archive.path)
    where = ["/bin/sh", target / "launch.sh", "--where"]
    store = {"REESPACK_STORE": "/s t"}
    assert subprocess.check_output(where, env=store, text=True) == f"/s t/{'ab' * 8}\n"
    shown = ["/bin/sh", "-c", '. "$0"; echo "$archive_path"', target / "archive.sh"]
    assert subprocess.check_output(shown, text=True) == f"{archive.path}\n"

    # From itself, for another place: what a build out of the cache does.
    elsewhere = write_launcher_kernelspec(
        tmp_path / "k", kernel, archive=archive, source=target, location=tmp_path / "b.tar.zst"
    )
    content = json.loads((elsewhere / "kernel.json").read_bytes())
    assert content["metadata"]["reespack"]["archive"]["path"] == str(tmp_path / "b.tar.zst")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env", "k", "repo"]


def test_an_emitted_folder_that_is_as_it_should_be_is_left_alone(
    prefix: Prefix, archive: Archive, tmp_path: Path
) -> None:
    (kernel, *_) = add(prefix)
    source = prefix.path / kernel.path

    def write(archive: Archive) -> tuple[int, dict[str, tuple[bytes, int]]]:
        folder = write_launcher_kernelspec(tmp_path / "k", kernel, archive=archive, source=source)
        held = {path.name: (path.read_bytes(), path.stat().st_mode) for path in folder.iterdir()}
        return folder.stat().st_ino, held

    first = write(archive)
    assert write(archive) == first
    target = tmp_path / "k"
    for spoil in (
        lambda: (target / "launch.sh").chmod(0o644),
        lambda: (target / "archive.sh").write_text("another\n"),
        (target / "logo-svg.svg").unlink,
        (target / "added").touch,
    ):
        spoil()
        assert write(archive)[1] == first[1]
    _, changed = write(dataclasses.replace(archive, sha256="1" * 64))
    assert b"1" * 64 in changed["archive.sh"][0]


@pytest.mark.parametrize(
    ("variables", "store"),
    [
        ({"REESPACK_STORE": "T/a"}, "T/a"),
        ({"XDG_CACHE_HOME": "T/x", "HOME": "T"}, "T/x/reespack/environments"),
        ({"HOME": "T"}, "T/.cache/reespack/environments"),
        ({"HOME": "T", "TMPDIR": "T"}, f"T/reespack-{os.getuid()}"),
        ({"HOME": "T", "TMPDIR": "T/none"}, "T/.cache/reespack/environments"),
        ({"TMPDIR": "T", "SLURM_TMPDIR": "T/s"}, f"T/s/reespack-{os.getuid()}"),
        (
            {"HOME": "T", "TMPDIR": "T", "REESPACK_STORE_ORDER": "tmp"},
            f"/tmp/reespack-{os.getuid()}",  # noqa: S108 - the default that is meant
        ),
    ],
)
def test_where_the_environment_goes(
    prefix: Prefix, archive: Archive, tmp_path: Path, variables: dict[str, str], store: str
) -> None:
    (kernel, *_) = add(prefix)
    source = prefix.path / kernel.path
    target = write_launcher_kernelspec(tmp_path / "k", kernel, archive=archive, source=source)
    command = ["/bin/sh", target / "launch.sh", "--where"]
    (tmp_path / "s").mkdir()
    env = {name: value.replace("T", str(tmp_path), 1) for name, value in variables.items()}
    expected = f"{store.replace('T', str(tmp_path), 1)}/{'0' * 16}\n"
    assert subprocess.check_output(command, env=env, text=True) == expected
    # What reespack itself would choose.
    chosen = open_stores(load_store_settings(env), env).own
    assert f"{chosen}/{'0' * 16}\n" == expected


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("script", ["exec.sh", "kernel.sh", "archive.sh"])
def test_the_scripts_parse_in_every_shell(shell: str, script: str, tmp_path: Path) -> None:
    file = tmp_path / script
    file.write_text(read_script(script))
    ways = {"busybox": ["busybox", "sh"]}
    done = subprocess.run(
        [*ways.get(shell, [shell]), "-n", file], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
