"""The verdict on sessions, with and without earlier sessions of a branch."""

from __future__ import annotations

from datetime import date

import pytest

from buddy_sessions import QuarantinedTest, Session, SessionStatus, TestCase, TestRun, TestStatus
from buddy_sessions.analysis.judgement import Baseline, find_causes, judge


def run(number: int, *failing: str, status: SessionStatus = SessionStatus.ERROR) -> TestRun:
    """Return a session in which these tests fail."""
    cases = tuple(TestCase(id=f"{name} in {number}", name=name, status=TestStatus.FAILED) for name in failing)
    return TestRun(Session(id=str(number), relative_id=number, status=status), cases)


GREEN = SessionStatus.SUCCESSFUL


@pytest.mark.parametrize(
    ("runs", "failing", "crashed", "is_red"),
    [
        ([run(2, status=GREEN)], [], [], False),
        ([run(2, "pays", "adds")], ["pays in 2", "adds in 2"], [], True),
        ([run(3, "pays"), run(2, "adds", "pays")], ["pays in 3", "adds in 2"], [], True),
        ([run(3, status=GREEN), run(2)], [], [2], True),
        ([run(2, status=SessionStatus.IN_PROGRESS)], [], [], False),
    ],
    ids=["green", "red", "two sessions", "crashed", "unfinished"],
)
def test_each_failure_counts(runs: list[TestRun], failing: list[str], crashed: list[int], is_red: bool) -> None:
    """Of a test that fails in two sessions, the case of the newest one is kept."""
    judgement = judge(runs)
    assert [test.case.id for test in judgement.tests] == failing
    assert [session.relative_id for session in judgement.crashed] == crashed
    assert judgement.is_red is is_red


def test_baseline_excuses_failures() -> None:
    baseline = Baseline("main", [run(4, "old", "known"), run(3, "known", "flaky")], [run(2, "known"), run(1, "x")])
    quarantine = [QuarantinedTest("late", date.max, "SHOP-7"), QuarantinedTest("gone", date.max)]
    judgement = judge([run(9, "flaky", "known", "new", "late")], baseline, quarantine=quarantine)
    assert [(test.case.name, test.failed_in, test.excuse, test.mark) for test in judgement.tests] == [
        ("new", 0, "", "new"),
        ("known", 2, "known: failed in 2 of the last 2 on main", "failing since #2"),
        ("flaky", 1, "flaky: failed in 1 of the last 2 on main", "flaky: failed in 1 of the last 2 on main"),
        ("late", 0, f"quarantined until {date.max}: SHOP-7", f"quarantined until {date.max}: SHOP-7"),
    ]
    assert (judgement.is_red, judgement.unused) == (True, quarantine[1:])
    assert not judge([run(9, "known")], baseline).is_red
    assert str(Baseline(None, [])) == "all branches"


def test_streak_that_may_be_longer() -> None:
    """All sessions that are known have the failure."""
    (test,) = judge([run(9, "known")], Baseline("main", [run(2, "known"), run(1, "known")])).tests
    assert test.mark == "failing since #1 or earlier"
    assert [cause.tests for cause in find_causes([test])] == [[test]]
