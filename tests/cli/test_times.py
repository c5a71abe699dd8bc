"""Times that options name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from buddy_sessions.cli.times import parse_since

NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("0d", timedelta()),
        ("99999w", timedelta(weeks=99_999)),
    ],
)
def test_relative_time_is_before_now(text: str, age: timedelta) -> None:
    assert parse_since(text, NOW) == NOW - age


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("20260131", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T08:30", "2026-01-31T08:30:00+00:00"),
        ("2026-01-31 08:30:15Z", "2026-01-31T08:30:15+00:00"),
        ("2026-01-31T08:30:15.5+05:30", "2026-01-31T08:30:15.500000+05:30"),
    ],
)
def test_time_without_an_offset_is_utc(text: str, expected: str) -> None:
    assert parse_since(text, NOW).isoformat() == expected


@pytest.mark.parametrize(
    "text",
    ["", "7", "d", "7 d", "7D", "-7d", "1.5h", "7m", "100000w", "yesterday", "2026-02-30", "31.01.2026", "\u0667d"],
)
def test_other_text_is_rejected_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"24h, 7d or 2w .* 2026-01-31T08:30") as caught:
        parse_since(text, NOW)
    assert str(caught.value).startswith(f"{text!r} is not a time: ")
