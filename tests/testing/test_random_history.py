"""The random sessions and test cases of the fake Buddy: plausible, consistent and reproducible."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from buddy_sessions.testing import FakeSuite

UNTIL = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)
COUNTS = ("tests_count", "failed_count", "skipped_count", "error_count")


def populated(count: int = 300, *, seed: int = 0, suite_id: str = "MNbyVedg") -> FakeSuite:
    return FakeSuite("acme", "shop", suite_id, seed=seed).populate(count, until=UNTIL)


def count_statuses(suite: FakeSuite, session: dict[str, Any]) -> list[int]:
    """Return the numbers of all test cases, and of those that failed, were skipped and had errors."""
    numbers = Counter(case["status"] for case in suite.cases(session))
    return [numbers.total(), numbers["FAILED"], numbers["SKIPPED"], numbers["ERROR"]]


def test_of(case: dict[str, Any]) -> tuple[str, str, str]:
    """Return the names of a test, which are the same in all sessions."""
    return case["test_group_name"], case["classname"], case["name"]


test_of.__test__ = False  # type: ignore[attr-defined] # not a test


def test_sessions_and_cases_are_plausible() -> None:
    suite = populated(200)
    sessions = suite.sessions[::-1]
    assert {each["ref_type"] for each in sessions} == {"BRANCH", "TAG", "PULL_REQUEST"}
    assert 0.4 < sum(each["ref_name"] == "main" for each in sessions) / len(sessions) < 0.6
    runs = [suite.cases(session) for session in sessions]
    for before, after in pairwise(runs):
        fewer, more = sorted([list(map(test_of, run)) for run in (before, after)], key=len)
        assert more[: len(fewer)] == fewer
    assert len({case["id"] for run in runs for case in run}) == sum(map(len, runs))
    for each in sessions:
        start, finish = (datetime.fromisoformat(each[name]) for name in ("start_date", "finish_date"))
        assert (finish - start).total_seconds() == each["duration"]
        assert each["create_date"] <= each["start_date"] <= each["finish_date"] <= "2026-01-30T15:00:00Z"
        assert count_statuses(suite, each) == [each[name] for name in COUNTS]
        assert (each["status"] == "ERROR") == bool(each["failed_count"] or each["error_count"])


def test_populate_continues_the_history_until_now() -> None:
    suite = populated(50).populate(50)
    sessions = suite.sessions[::-1]
    assert [session["relative_id"] for session in sessions] == list(range(1, 101))
    dates = [session["create_date"] for session in sessions]
    assert dates == sorted(dates)
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(dates[-1]) < timedelta(hours=1)


@pytest.mark.parametrize(
    ("count", "until", "message"),
    [
        (1, UNTIL.replace(tzinfo=None), "time zone"),
        (1, UNTIL - timedelta(days=30), "sessions up to 2026-01-30"),
        (-1, UNTIL, "count must be at least 0, not -1"),
    ],
)
def test_wrong_argument_is_rejected(count: int, until: datetime, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        populated(1).populate(count, until=until)
