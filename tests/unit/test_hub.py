"""The Hub's pieces, without a Hub: choice, form, reports, preparation, builds, watching."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import HTTPError
from traitlets import Dict, HasTraits, List, Unicode

from reespack.catalog import Catalog, parse_catalog
from reespack.hub.builds import Builds
from reespack.hub.cards import Card, Cards
from reespack.hub.choice import choose, options_from_form
from reespack.hub.form import render_form
from reespack.hub.preparing import prepare
from reespack.hub.reports import Reports, plain, reports_of
from reespack.hub.spawning import with_reports
from reespack.hub.watching import WatchedCatalog

TEXT = """\
format: 1
default: beta
environments:
  alpha: {title: "Ice <b>", archive: alpha.tar.zst, groups: [ice], resources: {memory: 4G},
          variables: {DATA: /data}, prologue: module load ice}
  beta: {archive: /envs/beta.tar.zst, description: For everybody}
  built: {repository: /srv/it's, ref: v1}
"""


def _catalog(path: Path = Path("/envs/catalog.yml")) -> Catalog:
    return parse_catalog(TEXT, path=path)


# --- choice ---------------------------------------------------------------------------------------


def test_a_form_says_nothing_but_the_environment() -> None:
    assert options_from_form({"environment": ["a", "b"], "_xsrf": ["x"], "nprocs": ["9"]}) == {
        "environment": "a"
    }
    assert options_from_form({"_xsrf": ["x"]}) == {}


def test_the_default_is_taken_and_groups_are_held() -> None:
    assert choose(_catalog(), {}, frozenset()).name == "beta"
    assert choose(_catalog(), {"environment": "alpha"}, frozenset({"ice"})).name == "alpha"
    with pytest.raises(HTTPError) as caught:
        choose(_catalog(), {"environment": "alpha"}, frozenset())
    assert caught.value.status_code == 403
    # One that exists and one that does not are told in the same words.
    text = caught.value.jupyterhub_message  # type: ignore[attr-defined]
    with pytest.raises(HTTPError) as other:
        choose(_catalog(), {"environment": "omega"}, frozenset())
    assert other.value.jupyterhub_message == text.replace("alpha", "omega")  # type: ignore[attr-defined]


def test_the_whole_body_of_a_request_is_taken_for_options_by_jupyterhub_5() -> None:
    assert choose(_catalog(), {"user_options": {"environment": "beta"}}, frozenset()).name == "beta"
    for options in ({"user_options": {"nprocs": 9}}, {"user_options": {}, "nprocs": 9}):
        with pytest.raises(HTTPError, match="nprocs"):
            choose(_catalog(), options, frozenset())


def test_errors_are_escaped_for_pages() -> None:
    with pytest.raises(HTTPError) as caught:
        choose(_catalog(), {"environment": "<script>"}, frozenset())
    assert "<script>" not in caught.value.jupyterhub_html_message  # type: ignore[attr-defined]
    assert "&lt;script&gt;" in caught.value.jupyterhub_html_message  # type: ignore[attr-defined]


# --- form -----------------------------------------------------------------------------------------


class _Form(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.inputs: list[dict[str, str | None]] = []
        self.ids: set[str] = set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "input":
            self.inputs.append(values)
        else:
            self.open.append(tag)
        if values.get("id"):
            assert values["id"] not in self.ids
            self.ids.add(str(values["id"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_form_is_well_made_and_needs_nothing_from_outside() -> None:
    entries = _catalog().entries
    cards = (
        Card(entry=entries[0], state="ready", languages=("Python 3.12",), size=98 << 20),
        Card(entry=entries[1], state="missing"),
        Card(entry=entries[2], state="unbuilt"),
    )
    text = render_form(cards, title="<i>", chosen="beta", problem="<u>")
    form = _Form(text)
    assert [one["value"] for one in form.inputs] == ["alpha", "beta", "built"]
    assert ["checked" in one for one in form.inputs] == [True, False, False]  # beta is missing
    assert ["disabled" in one for one in form.inputs] == [False, True, False]
    for one in form.inputs:
        for key in ("aria-labelledby", "aria-describedby"):
            assert set(str(one[key]).split()) <= form.ids
    assert "Ice &lt;b&gt;" in text
    assert not re.search(r"<(b|i|u|script)>|https?:|url\(|@import|\son\w+=", text)
    assert "98 MB" in text
    assert "4G memory" in text


def test_a_user_without_environments_is_told_so() -> None:
    assert "Ask your site's help desk" in render_form(())


def test_cards_are_read_from_what_lies_beside_the_archive(tmp_path: Path) -> None:
    entry = _catalog(tmp_path / "catalog.yml").entries[0]
    archive = tmp_path / "alpha.tar.zst"
    assert Cards().make([(entry, archive)])[0].state == "missing"
    archive.write_bytes(b"x" * 10)
    (tmp_path / "alpha.manifest.json").write_text(
        '{"kernelspecs": [{"language": "python"}, {"language": "R"}],'
        ' "conda": [{"name": "python", "version": "3.12.1"}]}'
    )
    (card,) = Cards().make([(entry, archive)])
    assert (card.state, card.languages, card.size) == ("ready", ("Python 3.12.1", "R"), 10)
    (tmp_path / "alpha.manifest.json").write_text("no JSON")
    assert Cards().make([(entry, archive)])[0].languages == ()


# --- reports --------------------------------------------------------------------------------------


def test_every_reader_gets_every_message_once() -> None:
    async def run() -> list[list[str]]:
        reports = Reports()
        reports.say("one")

        async def read() -> list[str]:
            seen = []
            async for event in reports.follow():
                seen.append(event["message"])
                if len(seen) == 3:
                    break
            return seen

        readers = [asyncio.ensure_future(read()) for _ in range(2)]
        await asyncio.sleep(0)
        reports.say("two")
        reports.say("two")
        reports.say("three", progress=400)
        return await asyncio.gather(*readers)

    assert asyncio.run(run()) == [["one", "two", "three"]] * 2


def test_a_job_cannot_flood_a_page_or_break_its_lines() -> None:
    reports = Reports()
    for number in range(2000):
        reports.say(f"{number}\n\x1b[31m")
    assert len(reports.events) == 500
    assert reports.events[-1]["message"] == "1999 [31m"
    assert len(plain("x" * 9999)) == 300


# --- preparation ----------------------------------------------------------------------------------


class _Local(HasTraits):
    cmd = List(["/site/bin/jupyterhub-singleuser", "--debug"])
    environment = Dict({"LANG": "C"})
    user_options = Dict()
    mem_limit = Unicode()

    async def start(self) -> str:
        return "http://127.0.0.1:1"


class _Batch(_Local):
    req_memory = Unicode("1G")
    req_prologue = Unicode("module purge")
    batchspawner_singleuser_cmd = Unicode("batchspawner-singleuser")
    batch_script = Unicode("{{prologue}}\n{{cmd}}")


COMMAND = ("/opt/my python", "-m", "reespack")
_ARGUMENTS = ("singleuser", "--choose-port", "/envs/alpha.tar.zst", "--")


def test_a_batch_spawner_is_prepared() -> None:
    spawner, entry = _Batch(user_options={"environment": "alpha"}), _catalog().entries[0]
    prepare(spawner, entry, Path("/envs/alpha.tar.zst"), command=COMMAND)
    assert spawner.batchspawner_singleuser_cmd == (
        "'/opt/my python' -m reespack singleuser --choose-port /envs/alpha.tar.zst --"
    )
    assert spawner.cmd == ["jupyterhub-singleuser", "--debug"]
    assert spawner.req_prologue == "module purge\nmodule load ice"
    assert spawner.environment == {"LANG": "C", "DATA": "/data"}
    assert spawner.req_memory == "4G"
    assert spawner.user_options == {"environment": "alpha"}


def test_without_a_place_for_a_prologue_the_job_runs_it_before_its_command() -> None:
    spawner = _Batch(batch_script="Arguments = {cmd}")
    command = ("printenv", "DATA", "LOADED")
    entry = replace(_catalog().entries[0], prologue="LOADED='a b'\nexport LOADED")
    spawner.req_prologue = ""
    prepare(spawner, entry, Path("/envs/alpha.tar.zst"), command=command)
    words = shlex.split(spawner.batchspawner_singleuser_cmd)
    assert "\n" not in spawner.batchspawner_singleuser_cmd
    ran = subprocess.run(words[: -len(_ARGUMENTS)], capture_output=True, text=True, check=True)
    assert ran.stdout == "/data\na b\n"


def test_nothing_of_one_spawn_stays_for_the_next() -> None:
    spawner = _Batch()
    for entry in _catalog().entries[:2]:
        prepare(spawner, entry, Path("/envs/x.tar.zst"), command=COMMAND)
    assert spawner.req_memory == "1G"
    assert spawner.req_prologue == "module purge"
    assert spawner.environment == {"LANG": "C"}


def test_another_spawner_is_prepared_by_its_command() -> None:
    spawner = _Local()
    prepare(spawner, _catalog().entries[0], Path("/envs/a.tar.zst"), command=COMMAND)
    assert spawner.cmd == [
        *COMMAND,
        "singleuser",
        "/envs/a.tar.zst",
        "--",
        "jupyterhub-singleuser",
        "--debug",
    ]
    assert spawner.mem_limit == "4G"


def test_a_self_extracting_archive_needs_no_reespack() -> None:
    spawner = _Batch()
    prepare(spawner, _catalog().entries[1], Path("/envs/b.run.sh"), command=COMMAND)
    assert spawner.batchspawner_singleuser_cmd == (
        "/bin/sh /envs/b.run.sh python -m batchspawner.singleuser"
    )


def test_a_local_server_counts_as_started_when_its_job_says_so() -> None:
    async def run() -> None:
        spawner: Any = with_reports(_Local)()
        reports_of(spawner, anew=True).expects_job = True
        starting = asyncio.ensure_future(spawner.start())
        await asyncio.sleep(0.05)
        assert not starting.done()
        reports_of(spawner).start()
        assert await starting == "http://127.0.0.1:1"
        reports_of(spawner, anew=True).expects_job = True
        starting = asyncio.ensure_future(spawner.start())
        await asyncio.sleep(0.05)
        reports_of(spawner).fail("no room on the disk")
        with pytest.raises(HTTPError) as caught:
            await starting
        assert caught.value.jupyterhub_message == "no room on the disk"  # type: ignore[attr-defined]

    asyncio.run(run())


class _Stubborn(_Batch):
    """Swallows being cancelled while it runs a command, as batchspawner 1.3.0 does."""

    job_id = "1"
    job_status = ""
    port = 0
    seconds = 60.0

    async def start(self) -> str:
        begun = time.monotonic()
        while time.monotonic() < begun + self.seconds:
            await self._run_command(self.seconds)
        return "http://127.0.0.1:1"

    async def query_job_status(self) -> SimpleNamespace:
        self.job_status = "RUNNING node"
        await self._run_command(1)
        return SimpleNamespace(name="RUNNING")

    async def _run_command(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.job_status = "exit status -9"
        await asyncio.sleep(0)

    def state_ispending(self) -> bool:
        return False

    state_isrunning = state_ispending


def test_a_server_has_started_whatever_is_asked_of_the_batch_system_meanwhile() -> None:
    async def run() -> None:
        spawner: Any = with_reports(_Stubborn)()
        spawner.reespack_watch_interval = 0
        spawner.seconds = 0.7  # the first question is put after half a second
        assert await asyncio.wait_for(spawner.start(), 20) == "http://127.0.0.1:1"
        assert spawner.job_status == "RUNNING node"

    asyncio.run(run())


def test_a_failure_ends_a_start_that_will_not_be_cancelled() -> None:
    async def run() -> None:
        spawner: Any = with_reports(_Stubborn)()
        starting = asyncio.ensure_future(spawner.start())
        await asyncio.sleep(0.05)
        spawner.seconds = 0.01
        reports_of(spawner).fail("no room on the disk")
        with pytest.raises(HTTPError):
            await asyncio.wait_for(starting, 20)

    asyncio.run(run())


# --- builds ---------------------------------------------------------------------------------------

BUILD = """\
#!/bin/sh
# Stands for reespack: says what it was called with, and leaves an archive, or fails.
echo "building $*"
while [ "$1" != -o ]; do shift; done
[ -z "$FAIL" ] || { echo "error: no such package: numpie" >&2; exit 42; }
mkdir "$2" && echo x > "$2/it-linux-64.tar.zst"
echo once >> "$(dirname "$0")/runs"
env > "$(dirname "$0")/variables"
sleep 0.2
"""


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builds:
    program = tmp_path / "reespack it"
    program.write_text(BUILD)
    program.chmod(0o755)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    return Builds(
        folder=tmp_path / "builds", command=(str(program),), submit=("env", "FAIL=", "/bin/sh")
    )


def test_an_archive_is_built_once_for_all_who_wait(builds: Builds, tmp_path: Path) -> None:
    entry = _catalog().entries[2]

    async def run() -> list[Path]:
        waiting = [builds.archive(entry, reports) for reports in many]
        found = await asyncio.gather(*waiting)
        return [*found, await builds.archive(entry, Reports())]

    many = [Reports() for _ in range(20)]
    found = asyncio.run(run())
    assert len(set(found)) == 1
    assert found[0].read_text() == "x\n"
    assert (tmp_path / "runs").read_text() == "once\n"
    assert "secret" not in (tmp_path / "variables").read_text()
    assert not list(builds.folder.glob(".*"))
    wanted = "building build /srv/it's --ref v1 --name built --with server -o"
    for reports in many:
        assert any(wanted in event["message"] for event in reports.events)


def test_a_build_that_fails_is_explained_and_tried_again(builds: Builds) -> None:
    entry = _catalog().entries[2]
    failing = Builds(
        folder=builds.folder, command=builds.command, submit=("env", "FAIL=1", "/bin/sh")
    )
    with pytest.raises(HTTPError) as caught:
        asyncio.run(failing.archive(entry, Reports()))
    text = caught.value.jupyterhub_message  # type: ignore[attr-defined]
    assert "could not be built" in text
    assert "no such package: numpie" in text
    assert asyncio.run(builds.archive(entry, Reports())).is_file()


def test_the_log_of_a_build_is_read_however_late(builds: Builds) -> None:
    class SlowThreads(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
            return super().submit(lambda: (time.sleep(0.3), fn(*args, **kwargs))[1])

    async def run() -> Path:
        asyncio.get_running_loop().set_default_executor(SlowThreads())
        return await failing.archive(_catalog().entries[2], Reports())

    failing = Builds(
        folder=builds.folder, command=builds.command, submit=("env", "FAIL=1", "/bin/sh")
    )
    with pytest.raises(HTTPError) as caught:
        asyncio.run(run())
    assert "no such package: numpie" in caught.value.jupyterhub_message  # type: ignore[attr-defined]


def test_who_stops_waiting_does_not_stop_the_build(builds: Builds) -> None:
    entry = _catalog().entries[2]

    async def run() -> Path:
        first = asyncio.ensure_future(builds.archive(entry, Reports()))
        second = asyncio.ensure_future(builds.archive(entry, Reports()))
        await asyncio.sleep(0.05)
        first.cancel()
        return await second

    assert asyncio.run(run()).is_file()


def test_the_root_account_builds_nothing(
    builds: Builds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(HTTPError):
        asyncio.run(builds.archive(_catalog().entries[2], Reports()))
    assert not (tmp_path / "runs").exists()


# --- watching -------------------------------------------------------------------------------------


def test_the_last_good_catalog_stays(tmp_path: Path) -> None:
    file = tmp_path / "catalog.yml"
    watched = WatchedCatalog(file)
    assert asyncio.run(watched.current()).entries == ()
    assert "cannot be read" in str(watched.problem)
    file.write_text(TEXT)
    assert len(asyncio.run(watched.current()).entries) == 3
    assert watched.problem is None
    file.write_text(f"{TEXT}  broken: [")
    assert len(asyncio.run(watched.current()).entries) == 3
    assert f"{file}:8: is not valid YAML" in str(watched.problem)
    file.unlink()
    assert len(asyncio.run(watched.current()).entries) == 3
    file.write_text("format: 1\nenvironments: {}\n")
    assert asyncio.run(watched.current()).entries == ()
    assert watched.problem is None


def test_users_are_told_apart_by_their_groups() -> None:
    from reespack.hub.choice import groups_of, pass_groups

    groups = [SimpleNamespace(name="b"), SimpleNamespace(name="a")]
    spawner = SimpleNamespace(user=SimpleNamespace(groups=groups), environment={})
    assert groups_of(spawner) == {"a", "b"}
    pass_groups(spawner)
    assert spawner.environment == {"REESPACK_HUB_GROUPS": "a,b"}
