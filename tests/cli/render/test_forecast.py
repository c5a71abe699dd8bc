"""The estimate of what remains of a read."""

from __future__ import annotations

from typing import Any

import pytest

from buddy_sessions import SessionPage, Stats, SuiteKey
from buddy_sessions.cli.options import ReadOptions
from buddy_sessions.cli.render.forecast import Forecast
from buddy_sessions.models import CaseScope
from helpers.report_sessions import RUNNING, session

A, B = SuiteKey("acme", "shop", "a"), SuiteKey("acme", "shop", "b")


def page(suite: SuiteKey, newest: int, count: int, *, is_last: bool = False) -> SessionPage:
    """Return a page of sessions of 250 tests, of which 2 failed."""
    counts: dict[str, Any] = {"tests_count": 250, "failed_count": 2, "error_count": 0}
    sessions = tuple(session(newest - index, **counts) for index in range(count))
    return SessionPage(suite=suite, number=1, sessions=sessions, is_last=is_last)


@pytest.mark.parametrize(
    ("options", "pages", "suites", "expected"),
    [
        pytest.param(ReadOptions(), [page(A, 400, 100)], 1, 400, id="newest relative_id"),
        pytest.param(ReadOptions(), [page(A, 400, 100), page(A, 300, 50, is_last=True)], 1, 150, id="complete"),
        pytest.param(ReadOptions(), [page(A, 400, 100), page(B, 200, 100)], 4, 1200, id="suites like these"),
        pytest.param(ReadOptions(after=100), [page(A, 400, 100)], 1, 300, id="after"),
        pytest.param(ReadOptions(), [page(A, 400, 100)], None, None, id="unknown number of suites"),
        pytest.param(ReadOptions(branch="main"), [page(A, 400, 100)], 1, None, id="branch"),
        pytest.param(ReadOptions(), [], 1, None, id="nothing read"),
    ],
)
def test_number_of_sessions(
    options: ReadOptions, pages: list[SessionPage], suites: int | None, expected: int | None
) -> None:
    forecast = Forecast(options)
    for each in pages:
        forecast.add(each)
    assert forecast.sessions(suites) == expected


@pytest.mark.parametrize(("scope", "expected"), [("all", 500), ("failed", 4), (None, 0)])
def test_test_cases_of_finished_sessions_are_counted(scope: CaseScope | None, expected: int) -> None:
    forecast = Forecast(ReadOptions(), scope=scope)
    forecast.add(page(A, 400, 2))
    forecast.add(SessionPage(suite=A, number=2, sessions=(session(1, RUNNING, tests_count=9),)))
    assert forecast.cases == expected


@pytest.mark.parametrize(
    ("scope", "stats", "elapsed", "expected"),
    [
        pytest.param(None, Stats(), 10.0, 30.0, id="a quarter of the sessions"),
        pytest.param("all", Stats(cases=12_500), 10.0, 70.0, id="half of the cases of a quarter"),
        pytest.param("all", Stats(), 10.0, None, id="no cases yet"),
        pytest.param(None, Stats(), 0.9, None, id="too early"),
    ],
)
def test_time_until_the_end(scope: CaseScope | None, stats: Stats, elapsed: float, expected: float | None) -> None:
    forecast = Forecast(ReadOptions(), scope=scope)
    forecast.add(page(A, 400, 100))
    assert forecast.seconds_left(stats, elapsed, 1) == expected
