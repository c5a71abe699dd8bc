"""The statistics of a report."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from buddy_sessions import RefType
from buddy_sessions.cli.report.suite_statistics import PassRate, Period, Ref, compute_statistics
from helpers.report_sessions import FAILED, FIRST, PASSED, RUNNING, SKIPPED, SUITE, statistics

MAIN = Ref(RefType.BRANCH, "main")


def test_suite_without_sessions() -> None:
    it = compute_statistics(SUITE, [])
    assert (it.session_count, it.span, it.latest_finished, it.recent.duration) == (0, None, None, None)
    assert (it.recent.pass_rate.percent, it.slowdown, it.is_failing) == (None, None, False)
    assert (it.timeline.periods, it.failures, it.recent.statuses) == ([], [], [])


def test_newest_20_finished_sessions_determine_the_state() -> None:
    it = statistics([FAILED] * 10 + [PASSED] * 18 + [SKIPPED] + [RUNNING] * 3, duration=[10] * 9 + [*range(23)])
    assert it.recent.pass_rate == PassRate(18, 20)
    assert it.recent.pass_rate.percent == 90
    assert it.recent.duration == 9.5  # of 0 to 19, without the running sessions
    assert it.newest[0].status == RUNNING
    assert it.latest_finished is not None
    assert it.latest_finished.relative_id == 29
    assert (it.session_count, it.is_failing) == (32, False)


def test_statuses_of_the_newest_20_finished_sessions_are_kept() -> None:
    assert statistics([FAILED] * 9 + [PASSED] * 19 + [SKIPPED, RUNNING]).recent.statuses == [SKIPPED, *[PASSED] * 19]


def test_sessions_before_a_time_are_left_out() -> None:
    """A session without a date may belong to the time."""
    days = [FIRST, None, FIRST + timedelta(days=2), FIRST + timedelta(days=3)]
    it = statistics([PASSED, PASSED, FAILED, RUNNING], create_date=days, since=FIRST + timedelta(days=2))
    assert [session.relative_id for session in it.newest] == [4, 3, 2]
    assert (it.session_count, it.recent.pass_rate, it.failed_branches) == (3, PassRate(1, 2), 1)
    assert it.span == (FIRST + timedelta(days=2), FIRST + timedelta(days=3))


def test_streak_may_have_begun_before_the_time() -> None:
    it = statistics([PASSED, FAILED, FAILED, FAILED], day=[0, 1, 2, 3], since=FIRST + timedelta(days=3))
    assert it.streak is not None
    assert (it.session_count, it.streak.first.relative_id, it.streak.length) == (1, 2, 3)


def test_suite_without_sessions_since_a_time_is_not_failing() -> None:
    it = statistics([FAILED], day=[0], since=FIRST + timedelta(days=1))
    assert (it.session_count, it.is_failing, it.latest_finished) == (0, False, None)


def test_periods_have_no_gaps() -> None:
    it = statistics([PASSED, FAILED, PASSED, RUNNING], day=[0, 0, 2, 30], duration=[1, 2, None, 9])
    assert it.timeline.days == 1
    assert it.timeline.periods == [
        Period(date(2026, 3, 1), PassRate(1, 2), 1.5),
        Period(date(2026, 3, 2), PassRate(0, 0), None),
        Period(date(2026, 3, 3), PassRate(1, 1), None),
    ]


@pytest.mark.parametrize(
    ("total", "days", "periods"), [(31, 1, 31), (32, 7, 5), (217, 7, 31), (218, 28, 8), (11_285, 365, 31)]
)
def test_there_are_at_most_31_periods(total: int, days: int, periods: int) -> None:
    it = statistics([PASSED] * 2, day=[0, total - 1])
    assert (it.timeline.days, len(it.timeline.periods)) == (days, periods)


def test_last_period_is_complete() -> None:
    """The first period begins with the first session, and may be shorter."""
    it = statistics([PASSED] * 4, day=[0, 3, 4, 31])
    assert [(period.start, period.pass_rate.finished) for period in it.timeline.periods] == [
        (date(2026, 3, 1), 2),
        (date(2026, 3, 5), 1),
        (date(2026, 3, 12), 0),
        (date(2026, 3, 19), 0),
        (date(2026, 3, 26), 1),
    ]


def test_periods_cover_every_possible_date() -> None:
    it = statistics([PASSED] * 2, create_date=[datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
    assert (it.timeline.periods[0].start, len(it.timeline.periods)) == (date.min, 31)


def test_failures_are_counted_by_branch() -> None:
    it = statistics(
        [FAILED, PASSED, FAILED, FAILED, FAILED, RUNNING, PASSED],
        branch=["main", "main", "main", "a", "main", "main", "b"],
        ref_type=[*[RefType.BRANCH] * 4, RefType.TAG, *[RefType.BRANCH] * 2],
    )
    assert [(branch.ref, branch.failed, branch.finished, branch.latest.relative_id) for branch in it.failures] == [
        (MAIN, 2, 3, 3),
        (Ref(RefType.TAG, "main"), 1, 1, 5),
        (Ref(RefType.BRANCH, "a"), 1, 1, 4),
    ]


@pytest.mark.parametrize(("after", "slowdown"), [(1096, None), (1100, 10), (904, None), (900, -10)])
def test_change_under_10_percent_is_no_trend(after: int, slowdown: int | None) -> None:
    it = statistics(duration=[1000] * 5 + [after] * 5)
    assert it.slowdown == slowdown


def test_odd_number_of_sessions_leaves_out_the_oldest() -> None:
    it = statistics(duration=[1000, 10, 10, 10, 20, 20, *[11] * 5])
    assert it.slowdown == pytest.approx(10)


def test_shrinking_duration_is_a_negative_slowdown() -> None:
    it = statistics(duration=[10] * 5 + [5] * 5)
    assert it.slowdown == -50


def test_fewer_than_ten_sessions_or_zero_have_no_trend() -> None:
    assert statistics([*[PASSED] * 9, RUNNING], duration=[*range(1, 11)]).slowdown is None
    assert statistics(duration=[0] * 5 + [5] * 5).slowdown is None


def test_suites_that_need_attention_come_first() -> None:
    """Failing suites come first, then lower pass rates, then larger slowdowns."""
    suites = {
        "none": statistics([RUNNING]),
        "steady": statistics([PASSED] * 10),
        "slower": statistics(duration=[1] * 5 + [2] * 5),
        "weak": statistics([FAILED, PASSED]),
        "failing": statistics([PASSED, PASSED, FAILED]),
    }
    order = sorted(suites, key=lambda name: suites[name].sort_key)
    assert order == ["failing", "weak", "slower", "steady", "none"]
