"""How the command line formats text, ages and causes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from buddy_sessions.cli.render.text import format_age

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGES = {
    -5: "0 s ago",
    59.9: "59 s ago",
    60: "1 min ago",
    3600: "1 h ago",
    47.9 * 3600: "47 h ago",
    48 * 3600: "2 d ago",
    59 * 86_400: "59 d ago",
    60.8 * 86_400: "60 d ago",
    61 * 86_400: "2 mo ago",
    729 * 86_400: "23 mo ago",
    730.4 * 86_400: "23 mo ago",
    731 * 86_400: "2 y ago",
}


def test_age_has_one_unit() -> None:
    assert {seconds: format_age(NOW - timedelta(seconds=seconds), NOW) for seconds in AGES} == AGES
    assert format_age(None, NOW) == "-"
