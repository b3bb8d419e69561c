"""Users of a Hub choose environments; their servers and kernels run in them, as Slurm's jobs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lab import NUMPY, run
from slurm import processes_of

from testbed.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab import Lab
    from slurm import Slurm

    from testbed.hub import Hub

ONE_ACCOUNT = "others can be made by root alone, in a folder that they can enter"
CODE = """
import getpass, json, os, sys, numpy
print(json.dumps([sys.prefix, numpy.__version__, getpass.getuser(), "SLURM_JOB_ID" in os.environ]))
"""


@pytest.fixture(autouse=True)
def _servers_stop(hub: Hub, lab: Lab) -> Iterator[None]:
    yield
    for user in lab.people:
        if hub.server(user):
            hub.stop_server(user)


def test_two_users_at_once_each_in_their_own_environment(hub: Hub, lab: Lab) -> None:
    if len(lab.people) < 2:
        pytest.skip(ONE_ACCOUNT)
    choices = dict(zip(lab.people, NUMPY, strict=True))
    for user in choices:  # whatever other tests have unpacked
        shutil.rmtree(f"{lab.folder}/{user}/.cache/reespack", ignore_errors=True)
    with ThreadPoolExecutor() as pool:
        spawns = dict(
            zip(
                choices,
                pool.map(lambda user: hub.spawn(user, {"environment": choices[user]}), choices),
                strict=True,
            )
        )
    for user, spawn in spawns.items():
        assert spawn.ready, (spawn.events, hub.log)
        text = " ".join(spawn.messages)
        assert "Waiting for a node" in text
        assert "Unpacking the environment on its node: " in text
        assert "Starting the server" in text
        assert str(lab.folder) not in text  # paths are not for users
        prefix, numpy, account, in_job = json.loads(hub.execute(user, CODE))
        assert numpy == NUMPY[choices[user]]
        assert account == user
        assert in_job
        assert prefix.startswith(f"{lab.folder}/{user}/.cache/reespack/")


def test_what_is_unpacked_is_not_unpacked_again(hub: Hub, lab: Lab) -> None:
    user = lab.people[0]
    first = hub.spawn(user, {"environment": "beta"})
    assert first.ready, (first.events, hub.log)
    prefix = json.loads(hub.execute(user, CODE))[0]
    hub.stop_server(user)
    second = hub.spawn(user, {"environment": "beta"})
    assert second.ready, (second.events, hub.log)
    assert not [message for message in second.messages if "Unpacking" in message]
    assert json.loads(hub.execute(user, CODE))[0] == prefix


def test_without_a_choice_the_default_is_taken(hub: Hub, lab: Lab) -> None:
    spawn = hub.spawn(lab.people[0], None)
    assert spawn.ready, (spawn.events, hub.log)
    assert "Starting Statistics" in spawn.messages


def test_a_job_that_is_killed_while_it_unpacks_leaves_nothing_in_the_way(
    hub: Hub, lab: Lab, archives: dict[str, Path]
) -> None:
    user, store = lab.people[0], lab.stores / "again"

    def kill_when_it_unpacks() -> None:
        wait_for(lambda: list(store.glob(".*.part.*")), seconds=60, what="unpacking has begun")
        archive = str(archives["alpha"])  # of this run alone, whoever else runs servers
        for process in processes_of(user, "singleuser", archive):  # the first is their parent
            os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_it_unpacks)
    killer.start()
    failed = hub.spawn(user, {"environment": "again"})
    killer.join()
    assert failed.events[-1].get("failed"), failed.events
    assert "The job ended before its server answered." in failed.messages[-1]
    assert list(store.glob(".*.part.*"))  # it was in the middle

    again = hub.spawn(user, {"environment": "again"})
    assert again.ready, (again.events, hub.log)
    prefix, numpy, *_ = json.loads(hub.execute(user, CODE))
    assert prefix.startswith(f"{store}/")
    assert numpy == NUMPY["alpha"]
    assert not list(store.glob(".*.part.*"))


def test_an_environment_of_another_group_is_refused(hub: Hub, lab: Lab) -> None:
    if len(lab.people) < 2:
        pytest.skip(ONE_ACCOUNT)
    refused = hub.spawn(lab.people[1], {"environment": "alpha"})
    assert refused.answer.status_code == 403
    assert "Choose one of: beta, again" in refused.answer.json()["message"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"environment": "beta", "nprocs": "64"}, "nprocs"),
        ({"cmd": "id > /tmp/mine"}, "cmd"),
        ({"environment": {"$": 1}}, "no environment"),
    ],
)
def test_no_other_option_comes_through(
    hub: Hub, lab: Lab, slurm: Slurm, options: dict[str, object], word: str
) -> None:
    refused = hub.spawn(lab.people[0], options)
    assert refused.answer.status_code in {400, 403}
    assert word in refused.answer.json()["message"]
    assert not slurm.jobs()


def test_a_server_cannot_set_what_the_hub_runs(hub: Hub, lab: Lab) -> None:
    user = lab.people[0]
    assert hub.spawn(user, {"environment": "beta"}).ready, hub.log
    answers = json.loads(
        hub.execute(
            user,
            """
import json, os, urllib.request, urllib.error
def post(path, body):
    request = urllib.request.Request(
        os.environ["JUPYTERHUB_API_URL"] + path, json.dumps(body).encode(),
        {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
print(json.dumps([
    post("/batchspawner", {"exec_prefix": "touch /tmp/mine;"}),
    post("/batchspawner", {"port": 1}),
    post("/reespack/report", {"phase": "failed", "text": "no"}),
]))
""",
        )
    )
    assert answers == [409, 409, 409]


ATTACK = """\
import json, os, sys, urllib.error, urllib.request
answers = []
for path, body in (
    ("/batchspawner", {"exec_prefix": "touch {mine};"}),
    ("/batchspawner", {"port": 8080, "exec_prefix": "touch {mine};"}),
    ("/batchspawner", {"port": "8080"}),
    ("/batchspawner", {"port": True}),
    ("/batchspawner", [1]),
    ("/reespack/report", {"phase": "ready"}),
    ("/reespack/report", {"phase": "message", "text": "<b>hello</b>" + chr(27)}),
):
    request = urllib.request.Request(
        os.environ["JUPYTERHUB_API_URL"] + path, json.dumps(body).encode(),
        {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    try:
        answers.append(urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as error:
        answers.append(error.code)
json.dump(answers, open(sys.argv[1], "w"))
"""


def test_a_starting_job_may_say_its_port_and_nothing_else(
    hub: Hub, lab: Lab, archives: dict[str, Path]
) -> None:
    user = lab.people[0]
    script, answers = lab.folder / "attack.py", lab.stores / "answers"
    script.write_text(ATTACK.replace("{mine}", str(lab.stores / "mine")))
    before = lab.catalog.read_text()
    try:
        prologue = f"{lab.reespack[0]} {script} {answers}"
        entry = f"  attack: {{archive: {archives['beta']}, prologue: {prologue}}}\n"
        lab.catalog.write_text(before + entry)
        spawn = hub.spawn(user, {"environment": "attack"})
    finally:
        lab.catalog.write_text(before)
    assert spawn.ready, (spawn.events, hub.log)
    assert json.loads(answers.read_text()) == [400, 400, 400, 400, 400, 400, 204]
    assert "<b>hello</b>" in spawn.messages
    assert not any("<b>" in event.get("html_message", "") for event in spawn.events)
    assert not (lab.stores / "mine").exists()
    assert "tried to set 'exec_prefix'; only a port is taken" in hub.log


def test_the_catalog_changes_under_the_running_hub(
    hub: Hub, lab: Lab, archives: dict[str, Path]
) -> None:
    user = lab.people[0]
    assert hub.spawn(user, {"environment": "new"}).answer.status_code == 403
    before = lab.catalog.read_text()
    try:
        _reespack(
            lab, "catalog", "add", str(lab.catalog), "new", "--archive", str(archives["beta"])
        )
        assert "beta:  # for everybody" in lab.catalog.read_text()
        spawn = hub.spawn(user, {"environment": "new"})
        assert spawn.ready, (spawn.events, hub.log)
        hub.stop_server(user)

        lab.catalog.write_text(lab.catalog.read_text() + "  broken: [\n")
        still = hub.spawn(user, {"environment": "new"})
        assert still.ready, (still.events, hub.log)
        assert "the catalog cannot be used, the last good one stays" in hub.log
        assert f"{lab.catalog}:" in hub.log
    finally:
        lab.catalog.write_text(before)


def test_a_missing_archive_is_said_to_the_user_and_explained_to_the_admin(
    hub: Hub, lab: Lab
) -> None:
    before = lab.catalog.read_text()
    try:
        lab.catalog.write_text(f"{before}  gone: {{archive: {lab.folder}/gone.tar.zst}}\n")
        refused = hub.spawn(lab.people[0], {"environment": "gone"})
        assert refused.answer.status_code == 503
        message = refused.answer.json()["message"]
        assert "not available at the moment" in message
        assert "gone.tar.zst" not in message
        assert f"{lab.folder}/gone.tar.zst is not there" in hub.log
    finally:
        lab.catalog.write_text(before)


def test_a_repository_is_built_once_by_a_job_for_all_who_wait(hub: Hub, lab: Lab) -> None:
    repository = lab.folder / "course"
    ref = _make_repository(repository, lab)
    before = lab.catalog.read_text()
    entry = f"  course: {{title: The course, repository: {repository}, ref: {ref}}}\n"
    try:
        lab.catalog.write_text(before + entry)
        with ThreadPoolExecutor() as pool:
            spawns = list(
                pool.map(lambda user: hub.spawn(user, {"environment": "course"}), lab.people)
            )
    finally:
        lab.catalog.write_text(before)
    for user, spawn in zip(lab.people, spawns, strict=True):
        assert spawn.ready, (spawn.events, hub.log, _logs(lab))
        assert [one for one in spawn.messages if one.startswith("Building The course: ")]
        assert json.loads(hub.execute(user, CODE))[1] == NUMPY["beta"]
    assert hub.log.count("building course:") == 1
    assert len(list((lab.folder / "builds").glob("course-*/*.tar.zst"))) == 1


def _logs(lab: Lab) -> list[str]:
    return [path.read_text() for path in (lab.folder / "builds").glob("*.log")]


def _make_repository(folder: Path, lab: Lab) -> str:
    """Make a git repository of the builder's account, and return its commit."""
    folder.mkdir()
    (folder / "environment.yml").write_text(
        f"channels: [conda-forge]\ndependencies: [numpy={NUMPY['beta']}]\n"
    )
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "The course"]):
        subprocess.run([*git, *words], check=True)
    ref = run(*git, "rev-parse", "HEAD").strip()
    run("chown", "-R", lab.people[-1], str(folder))
    return ref


def _reespack(lab: Lab, *words: str) -> None:
    run(*lab.reespack, *words)
