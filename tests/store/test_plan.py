"""The plan of a sync: what is read next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from buddy_sessions.store.plan import is_check_due

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TestDue:
    @pytest.mark.parametrize(
        ("age", "pause"),
        [
            (timedelta(0), timedelta(minutes=1)),
            (timedelta(minutes=10), timedelta(minutes=1)),
            (timedelta(hours=5), timedelta(minutes=30)),
            (timedelta(days=10), timedelta(days=1)),
            (timedelta(days=1000), timedelta(days=1)),
            (timedelta(hours=-3), timedelta(minutes=1)),
            (None, timedelta(minutes=1)),
        ],
        ids=["new", "ten-minutes", "hours", "ten-days", "years", "in-the-future", "unknown"],
    )
    def test_pause_is_a_tenth_of_the_age(self, age: timedelta | None, pause: timedelta) -> None:
        created = None if age is None else NOW - age
        assert is_check_due(created, None, now=NOW)
        assert is_check_due(created, NOW - pause, now=NOW)
        assert not is_check_due(created, NOW - pause + timedelta(seconds=1), now=NOW)
