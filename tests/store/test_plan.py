"""The plan of a sync: what is read next."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.store.intervals import Interval, Intervals, contains, union
from buddy_sessions.store.messages import SessionId, SuiteState
from buddy_sessions.store.plan import MAX_CHECKS, Progress, is_check_due, join, next_gap, plan_checks

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TestNext:
    @given(
        covered=st.lists(st.tuples(st.integers(1, 60), st.integers(61, 90))),
        after=st.integers(0, 80),
        size=st.integers(1, 9),
    )
    def test_each_number_is_read_once(self, covered: list[Interval], after: int, size: int) -> None:
        """The pages of a sync, read downwards, contain every wanted number that is not covered."""
        known: Intervals = ()
        done: Intervals = ()
        read: list[int] = []
        for interval in covered:
            known = union(known, interval)
        while (part := next_gap(known, Progress(done=done, above=after, top=100))) is not None:
            low = max(part[0], part[1] - size)
            read += range(part[1], low - 1, -1)
            done = union(done, (low, part[1]))
        assert read == [number for number in range(100, after, -1) if not contains(known, number)]

    @pytest.mark.parametrize(
        ("proven", "held", "claimed"),
        [
            pytest.param((3, 7), (8, 9), (3, 9), id="next"),
            pytest.param((3, 8), (8, 9), (3, 9), id="overlapping"),
            pytest.param((3, 5), (8, 9), (3, 5), id="gap"),
            pytest.param(None, (8, 9), (8, 9), id="nothing-proven"),
        ],
    )
    def test_held_range_is_claimed_without_a_gap(
        self, proven: Interval | None, held: Interval, claimed: Interval
    ) -> None:
        assert join(proven, held) == claimed


def checks(numbers: Iterable[int]) -> list[Interval]:
    """Return the ranges that are requested to check the unfinished sessions with these numbers."""
    state = SuiteState(due_checks=[SessionId(number, f"id{number}") for number in numbers])
    return [(check.low, check.high or 0) for check in plan_checks(state, Progress())]


class TestChecks:
    def test_near_sessions_share_a_request(self) -> None:
        assert checks([]) == []
        assert checks([700, 600, 598, 1]) == [(700, 700), (598, 600), (1, 1)]

    def test_group_fits_on_one_page(self) -> None:
        groups = checks(range(500, 0, -1))
        assert 1 < len(groups) < MAX_CHECKS
        assert all(high - low < 100 for low, high in groups)
        assert [number for low, high in groups for number in range(high, low - 1, -1)] == [*range(500, 0, -1)]


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

    @pytest.mark.parametrize("ahead", [timedelta(seconds=1), timedelta(days=400)])
    def test_check_in_the_future_does_not_count(self, ahead: timedelta) -> None:
        """The clock of the machine was ahead."""
        assert is_check_due(NOW, NOW + ahead, now=NOW)
