from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from reespack.config import Settings, describe, load_settings
from reespack.config.pip_settings import load_package_index
from reespack.cores import available_cores
from reespack.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the variables of a user with an empty home, on a machine that says nothing."""
    home = tmp_path / "home"
    home.mkdir()
    found = {
        "HOME": str(home),
        "REESPACK_SITE_CONFIG": "",
        "PIP_CONFIG_FILE": "/dev/null",
        "CONDA_ROOT": str(home),
    }
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return found


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write_file


def test_defaults(environ: dict[str, str]) -> None:
    settings = load_settings(environ=environ)
    assert settings.channels == ("conda-forge",)
    assert settings.default_python == "3.12"
    assert settings.apt == "error"
    assert settings.format == "tar.zst"
    assert settings.timeout is None
    assert settings.cache == Path(environ["HOME"], ".cache", "reespack")
    assert settings.origin("channels") == "default"


def test_each_layer_beats_the_one_below(
    environ: dict[str, str], write: Callable[[str, str], Path]
) -> None:
    site = write("site.toml", 'default_python = "3.9"\napt = "warn"\nthreads = 1\noffline = true\n')
    user = write("user.toml", 'default_python = "3.10"\napt = "ignore"\nthreads = 2\n')
    variables = {**environ, "REESPACK_APT": "error", "REESPACK_THREADS": "3"}
    settings = load_settings(
        flags={"threads": 4, "offline": None},
        environ=variables,
        user_file=user,
        site_file=site,
    )
    found = {
        name: (getattr(settings, name), settings.origin(name))
        for name in ("threads", "apt", "default_python", "offline")
    }
    assert found == {
        "threads": (4, "--threads"),
        "apt": ("error", "REESPACK_APT"),
        "default_python": ("3.10", f"{user}:1"),
        "offline": (True, f"{site}:4"),
    }


def test_files_are_found_where_they_belong(
    environ: dict[str, str], write: Callable[[str, str], Path]
) -> None:
    user = write("home/.config/reespack/reespack.toml", "threads = 7\n")
    site = write("elsewhere/site.toml", 'format = "tar.gz"\n')
    settings = load_settings(environ={**environ, "REESPACK_SITE_CONFIG": str(site)})
    assert (settings.threads, settings.origin("threads")) == (7, f"{user}:1")
    assert (settings.format, settings.origin("format")) == ("tar.gz", f"{site}:1")
    with pytest.raises(ConfigError, match="REESPACK_CONFIG: there is no file"):
        load_settings(environ={**environ, "REESPACK_CONFIG": "/no/where"})


def test_aliases_merge_by_name_and_folders_are_relative_to_their_file(
    environ: dict[str, str], write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    user = write(
        "conf/reespack.toml",
        """\
        [channel_alias]
        conda-forge = "mirror/conda-forge"
        bioconda = "https://a.example.org/bioconda"
        """,
    )
    settings = load_settings(
        flags={"channel_alias": ["bioconda=file:///srv/b"]}, environ=environ, user_file=user
    )
    assert settings.channel_settings().alias == (
        ("conda-forge", str(tmp_path / "conf/mirror/conda-forge")),
        ("bioconda", "file:///srv/b"),
    )
    assert settings.origin("channel_alias.conda-forge") == f"{user}:1"
    assert settings.origin("channel_alias.bioconda") == "--channel-alias"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('a = 1\nchanels = ["x"]\n', "{file}:1: there is no setting 'a'", "known settings: "),
        (
            '\nchanels = ["x"]\n',
            "{file}:2: there is no setting 'chanels'",
            "did you mean 'channels",
        ),
        ("threads = 0\n", "{file}:1: threads must be a whole number of at least 1, not 0", None),
        ("threads = true\n", "{file}:1: threads must be a whole number .*, not true", None),
        ("default_python = 3.1\n", "{file}:1: default_python must be a version", "a string"),
        ('format = "tar.zs"\n', "{file}:1: format must be", "did you mean 'tar.zst'?"),
        ("[channel_alias]\nx = 1\n", "{file}:1: channel_alias must be a table", None),
        ("timeout = -1\n", "{file}:1: timeout must be a number of seconds", None),
        ("x = \n", "{file}:1: is not valid TOML", None),
    ],
)
def test_mistakes_name_file_and_line(
    environ: dict[str, str],
    write: Callable[[str, str], Path],
    text: str,
    message: str,
    hint: str | None,
) -> None:
    file = write("reespack.toml", text)
    with pytest.raises(ConfigError, match=message.format(file=file)) as caught:
        load_settings(environ=environ, user_file=file)
    assert caught.value.exit_code == 2
    assert (hint or "") in (caught.value.hint or "")


def test_mistakes_in_variables_and_flags(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="REESPACK_THREADS must be a whole number"):
        load_settings(environ={**environ, "REESPACK_THREADS": "many"})
    with pytest.raises(ConfigError, match="REESPACK_TREADS") as caught:
        load_settings(environ={**environ, "REESPACK_TREADS": "2"})
    assert caught.value.hint == "did you mean REESPACK_THREADS?"
    with pytest.raises(ConfigError, match="--channel-alias must be") as caught:
        load_settings(environ=environ, flags={"channel_alias": ["conda-forge"]})
    assert "for example conda-forge=" in (caught.value.hint or "")
    assert load_settings(environ={**environ, "REESPACK_SOMEBODYS_OWN": "x"}).offline is False


def test_condarc_is_read_where_conda_reads_it(
    environ: dict[str, str], write: Callable[[str, str], Path]
) -> None:
    write(
        "home/.config/conda/.condarc",
        """\
        channels: [lab]
        channel_alias: https://low.example.org
        custom_channels:
          lab: https://low.example.org/custom
          other: https://$HOST_X/custom
        """,
    )
    high = write(
        "home/.condarc",
        """\
        channels: [bioconda, lab]
        channel_alias: https://high.example.org/conda
        custom_channels:
          lab: https://high.example.org/custom/
        default_channels: [https://high.example.org/main]
        proxy_servers: {https: "http://me:pw@proxy:3128"}
        ssl_verify: false
        always_yes: true
        """,
    )
    settings = load_settings(environ={**environ, "HOST_X": "x.example.org"})
    channels = settings.channel_settings()
    assert settings.channels == ("bioconda", "lab")
    assert settings.origin("channels") == str(high)
    assert channels.base == "https://high.example.org/conda"
    assert channels.alias == (
        ("lab", "https://high.example.org/custom/lab"),
        ("other", "https://x.example.org/custom/other"),
    )
    assert channels.resolved("defaults") == ("https://high.example.org/main",)
    assert channels.proxies == (("https", "http://me:pw@proxy:3128"),)
    assert channels.ssl_verify is False
    assert settings.origin("base_url") == str(high)


def test_reespacks_own_settings_beat_condarc(
    environ: dict[str, str], write: Callable[[str, str], Path]
) -> None:
    rc = write("rc", "channels: [defaults]\ncustom_channels: {lab: https://a.example.org}\n")
    user = write(
        "u.toml", 'channels = ["x"]\nchannel_alias = {lab = "https://b.example.org/lab"}\n'
    )
    settings = load_settings(environ={**environ, "CONDARC": str(rc)}, user_file=user)
    assert settings.channels == ("x",)
    assert dict(settings.channel_settings().alias) == {"lab": "https://b.example.org/lab"}
    assert load_settings(environ={**environ, "CONDA_CHANNELS": "a,b"}).channels == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channels: {a: b}\n", "channels must be a list"),
        ("custom_channels: [a]\n", "custom_channels must be a table"),
        ("ssl_verify: [a]\n", "ssl_verify must be true, false or a file, not a list"),
        ("- a\n", "must be a table of settings"),
        ("a: b\nc: [\n", ":3: is not valid YAML"),
    ],
)
def test_a_broken_condarc_is_named(
    environ: dict[str, str], write: Callable[[str, str], Path], text: str, message: str
) -> None:
    file = write("rc", text)
    with pytest.raises(ConfigError, match=f"^{file}.*{message}"):
        load_settings(environ={**environ, "CONDARC": str(file)})


def test_pips_files_and_variables_become_the_index(
    environ: dict[str, str], write: Callable[[str, str], Path]
) -> None:
    del environ["PIP_CONFIG_FILE"]
    environ["XDG_CONFIG_DIRS"] = str(Path(environ["HOME"]).parent / "xdg")
    write("xdg/pip/pip.conf", "[install]\nno_index = true\n[global]\ncert = /site.pem\n")
    user = write(
        "home/.config/pip/pip.conf",
        """\
        [global]
        index-url = https://user.example.org/simple
        cert = /user.pem
        extra-index-url =
            https://one.example.org
            https://two.example.org
        [install]
        no-index = false
        trusted-host = a b
        [freeze]
        index-url = https://never.example.org
        """,
    )
    settings = load_settings(environ={**environ, "PIP_FIND_LINKS": "/w1 /w2"})
    index = settings.package_index()
    assert index.index_url == "https://user.example.org/simple"
    assert index.extra_index_urls == ("https://one.example.org", "https://two.example.org")
    assert (index.no_index, index.cert) == (False, "/user.pem")
    assert (index.find_links, index.trusted_hosts) == (("/w1", "/w2"), ("a", "b"))
    assert settings.origin("index.index-url") == str(user)
    assert settings.origin("index.find-links") == "PIP_FIND_LINKS"
    named = write("named.conf", "[global]\nindex-url = https://named.example.org\n")
    environ["PIP_CONFIG_FILE"] = str(named)
    again = load_settings(environ=environ).package_index()
    assert again.index_url == "https://named.example.org"
    environ["UV_DEFAULT_INDEX"] = "https://uv.example.org"
    assert load_settings(environ=environ).package_index().index_url == "https://uv.example.org"


def test_pip_told_to_read_no_file_reads_none(
    environ: dict[str, str], write: Callable[[str, str], Path]
) -> None:
    write("home/.config/pip/pip.conf", "[global]\nindex-url = https://user.example.org\n")
    index, origins = load_package_index(environ, cache=Path("/c"), offline=True)
    assert index.index_url is None
    assert index.offline
    assert index.cache == Path("/c/uv")
    assert "index-url" not in dict(origins)


def test_a_broken_pip_conf_is_named(
    environ: dict[str, str], write: Callable[[str, str], Path]
) -> None:
    file = write("pip.conf", "index-url = x\n")
    with pytest.raises(ConfigError, match=str(file)):
        load_settings(environ={**environ, "PIP_CONFIG_FILE": str(file)})


def test_described_settings_hide_secrets_and_are_json(environ: dict[str, str]) -> None:
    settings = load_settings(
        flags={"channel_alias": ["lab=https://me:hunter2@example.org/t/hunter2/lab"]},
        environ={
            **environ,
            "PIP_INDEX_URL": "https://me:hunter2@example.org/simple",
            "PIP_EXTRA_INDEX_URL": "https://me:hunter2@example.org/extra",
            "PIP_PROXY": "http://me:hunter2@proxy:1",
            "CONDA_CHANNEL_ALIAS": "https://me:hunter2@example.org/conda",
        },
    )
    rows = describe(settings)
    text = json.dumps(rows)
    assert "hunter2" not in text
    assert ("channel_alias.lab", "https://example.org/lab", "--channel-alias") in rows
    # What is asked of the network has them.
    assert "hunter2" in dict(settings.channel_settings().alias)["lab"]


def test_every_setting_is_described(environ: dict[str, str]) -> None:
    names = {name.partition(".")[0] for name, _, _ in describe(load_settings(environ=environ))}
    fields = set(Settings.__dataclass_fields__) - {"origins"}
    assert names == fields


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, None),
        ({"a/cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "rubbish"}, None),
    ],
)
def test_cores_are_those_that_are_given(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    cores: int | None,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    own = tmp_path / "own"
    own.write_text("0::/a/b\n", encoding="utf-8")
    assert available_cores(cgroups=tmp_path, own=own) == (cores or 8)
