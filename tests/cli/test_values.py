"""Times and durations that options name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from buddy_sessions.cli.values import parse_duration, parse_since

NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("7m", NOW - timedelta(minutes=7)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("2w", NOW - timedelta(days=14)),
        ("0d", NOW),
        ("99999w", NOW - timedelta(weeks=99_999)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31 08:30:15Z", datetime(2026, 1, 31, 8, 30, 15, tzinfo=UTC)),
        ("2026-01-31T08:30:15.5+05:30", datetime(2026, 1, 31, 3, 0, 15, 500_000, tzinfo=UTC)),
    ],
)
def test_time_without_an_offset_is_utc(text: str, expected: datetime) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["", "7", "d", "7 d", "7D", "-7d", "7y", "100000w", "yesterday", "2026-02-30", "31.01.2026", "\u0667d"],
)
def test_other_text_is_rejected_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"24h, 7d or 2w .* 2026-01-31T08:30") as caught:
        parse_since(text, NOW)
    assert str(caught.value).startswith(f"{text!r} is not a time: ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("0.5", 0.5), ("0", 0), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("90d", 7_776_000)],
)
def test_duration_is_seconds_or_has_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1 m", "30 seconds", "1m30", "1e3", "nan", "9" * 400, "100000w"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write 30s, 5m, 2h or 90d; a number alone is seconds"):
        parse_duration(text)
