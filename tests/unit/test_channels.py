from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from reespack.channels import (
    ChannelSettings,
    channel_url,
    client,
    display_name,
    expand_channels,
    gateway,
    without_credentials,
)
from reespack.errors import ChannelError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def make_channel(folder: Path, *names: str) -> Path:
    for subdir in ("noarch", "linux-64"):
        records = {
            f"{name}-1-0.conda": {
                "name": name,
                "version": "1",
                "build": "0",
                "build_number": 0,
                "depends": [],
                "subdir": subdir,
                "sha256": "0" * 64,
            }
            for name in (names if subdir == "noarch" else ())
        }
        (folder / subdir).mkdir(parents=True)
        (folder / subdir / "repodata.json").write_text(
            json.dumps({"info": {"subdir": subdir}, "packages": {}, "packages.conda": records}),
            encoding="utf-8",
        )
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> ChannelSettings:
    local = make_channel(tmp_path / "my channel", "a")
    return ChannelSettings(
        alias=(
            ("conda-forge", str(local)),
            ("lab", "https://lab.example.org/conda/lab"),
            ("gone", str(tmp_path / "gone")),
        ),
        cache=tmp_path / "cache",
        offline=True,
    )


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("bioconda", "https://conda.anaconda.org/bioconda"),
        ("bioconda/label/dev", "https://conda.anaconda.org/bioconda/label/dev"),
        ("lab", "https://lab.example.org/conda/lab"),
        ("lab/label/x", "https://lab.example.org/conda/lab/label/x"),
        ("pkgs/main", "https://repo.anaconda.com/pkgs/main"),
        ("https://example.org/c/", "https://example.org/c"),
        ("https://example.org/c/linux-64", "https://example.org/c"),
        ("https://example.org/c/noarch/", "https://example.org/c"),
    ],
)
def test_names_become_urls(settings: ChannelSettings, name: str, url: str) -> None:
    assert channel_url(name, settings) == url


def test_a_folder_is_a_channel(settings: ChannelSettings, tmp_path: Path) -> None:
    url = (tmp_path / "my channel").as_uri()
    assert channel_url("conda-forge", settings) == url
    assert channel_url(str(tmp_path / "my channel"), settings) == url
    assert channel_url(url, settings) == url


def test_the_base_may_be_a_folder_too(tmp_path: Path) -> None:
    make_channel(tmp_path / "mirror" / "conda-forge")
    settings = ChannelSettings(base=str(tmp_path / "mirror"), cache=tmp_path)
    assert channel_url("conda-forge", settings) == (tmp_path / "mirror/conda-forge").as_uri()
    with pytest.raises(ChannelError, match=r"channel bioconda .*there is no such folder"):
        channel_url("bioconda", settings)


@pytest.mark.parametrize("name", ["gone", "conda-forge/label/dev", "/no/where", "file:///no/where"])
def test_a_missing_folder_names_channel_and_option(settings: ChannelSettings, name: str) -> None:
    with pytest.raises(ChannelError) as caught:
        channel_url(name, settings)
    assert name in caught.value.message
    assert "--channel-alias" in (caught.value.hint or "")


def test_a_folder_without_repodata_is_none(settings: ChannelSettings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ChannelError, match=r"no repodata\.json") as caught:
        channel_url(str(tmp_path / "empty"), settings)
    assert "channel create" in (caught.value.hint or "")


def test_defaults_are_several_and_nodefaults_none(settings: ChannelSettings) -> None:
    found = expand_channels(["nodefaults", "defaults", "lab", "pkgs/main"], settings)
    assert [name for name, _ in found] == ["pkgs/main", "pkgs/r", "lab"]
    assert settings.resolved("defaults") == (
        "https://repo.anaconda.com/pkgs/main",
        "https://repo.anaconda.com/pkgs/r",
    )


@pytest.mark.parametrize(
    "name", ["bioconda", "bioconda/label/dev", "lab", "lab/label/x", "pkgs/r", "conda-forge"]
)
def test_display_name_undoes_channel_url(settings: ChannelSettings, name: str) -> None:
    url = channel_url(name, settings)
    assert display_name(url, settings) == name
    assert display_name(f"{url}/linux-64/", settings) == name


def test_no_name_shows_a_secret(settings: ChannelSettings) -> None:
    url = "https://me:pw@example.org/t/tk-123/private"
    assert channel_url(url, settings) == url
    assert display_name(url, settings) == "https://example.org/private"
    assert without_credentials("file:///t/x/y") == "file:///t/x/y"


def test_a_local_channel_answers_offline(settings: ChannelSettings) -> None:
    async def ask() -> list[str]:
        answer = await gateway(settings).query(
            [channel_url("conda-forge", settings)], ["linux-64", "noarch"], ["a"], recursive=False
        )
        return [str(record.name.normalized) for records in answer for record in records]

    assert asyncio.run(ask()) == ["a"]


def test_a_remote_channel_does_not_answer_offline(settings: ChannelSettings) -> None:
    async def ask() -> None:
        await gateway(settings).query(["https://localhost:9/x"], ["noarch"], ["a"])

    with pytest.raises(Exception, match="no usable repodata cache"):
        asyncio.run(ask())


def test_bad_proxies_are_a_config_error(tmp_path: Path) -> None:
    settings = ChannelSettings(proxies=(("https", "not a url"),), cache=tmp_path)
    with pytest.raises(ConfigError, match="settings for channels"):
        client(settings)


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    settings = ChannelSettings(ssl_verify=str(tmp_path / "no.pem"), cache=tmp_path)
    with pytest.raises(ConfigError, match=r"no file of certificates .*no\.pem"):
        client(settings)


def test_certificates_do_not_stay_in_the_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    for before in ("/other.pem", None):
        if before is None:
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        else:
            monkeypatch.setenv("SSL_CERT_FILE", before)
        client(ChannelSettings(ssl_verify=str(tmp_path / "ca.pem"), cache=tmp_path))
        assert os.environ.get("SSL_CERT_FILE") == before


def test_a_cache_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        gateway(ChannelSettings(cache=tmp_path / "file"))
