from __future__ import annotations

import pytest

from reespack.cli.amounts import parse_duration, parse_size
from reespack.errors import UsageError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("512B", 512),
        ("10GB", 10**10),
        ("10g", 10**10),
        (" 1.5 TiB ", 3 << 39),
        ("500 kB", 500_000),
        ("2MiB", 2 << 20),
    ],
)
def test_sizes(text: str, number: int) -> None:
    assert parse_size(text, option="--max-size") == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2592000), ("1.5W", 907200)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, option="--older-than") == seconds


@pytest.mark.parametrize("text", ["", "30", "ten GB", "-1GB", "10XB", "1e3", "nan", "GB", "1 0GB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--max-size: ") as caught:
        parse_size(text, option="--max-size")
    assert "10GB" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "30", "0", "d", "-1d", "1mo", "1d12h", "infd"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--older-than: ") as caught:
        parse_duration(text, option="--older-than")
    assert "30d" in str(caught.value.hint)
