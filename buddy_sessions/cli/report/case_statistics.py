"""The statistics of the tests of one suite in a report, computed from its saved test cases. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from buddy_sessions import FlakyTest, Session, SlowTest, TestCase, TestKey, TestRun, flaky_tests, slowest_tests

from .streaks import Streak, find_test_streak

WINDOW = 10
"""The number of newest sessions in which flaky and slow tests are searched."""

_MAX_FAILING, _MAX_FLAKY, _MAX_SLOW = 20, 8, 8  # rows of the lists


class FailingTest(NamedTuple):
    """A test that fails in the newest finished session."""

    key: TestKey
    html_url: str | None
    message: str | None
    streak: Streak


@dataclass(frozen=True, kw_only=True)
class CaseStatistics:
    """The statistics of the saved test cases of a suite.

    Attributes:
        failing: The tests that fail in the newest finished session, those that began to fail last first; None if its
            test cases were not saved.
        failing_count: Their number, including those that are not in `failing`.
        flaky: The flaky tests, most changes first.
        flaky_count: Their number, including those that are not in `flaky`.
        slowest: The slowest tests, slowest first.
        complete_runs: The number of sessions in which flaky and slow tests were searched.
    """

    failing: Sequence[FailingTest] | None
    failing_count: int
    flaky: Sequence[FlakyTest]
    flaky_count: int
    slowest: Sequence[SlowTest]
    complete_runs: int


def compute_case_statistics(
    finished: Sequence[Session], failed_runs: Sequence[TestRun], complete_runs: Sequence[TestRun]
) -> CaseStatistics:
    """Return the statistics of saved test cases.

    Args:
        finished: The finished sessions of the suite, newest first.
        failed_runs: The sessions whose failing cases were saved, with these cases.
        complete_runs: The newest sessions of which all cases were saved, with these cases, oldest first.
    """
    failing = _failing_tests(finished, failed_runs)
    cases = [run.cases for run in complete_runs]
    flaky = flaky_tests(cases, window=WINDOW)
    return CaseStatistics(
        failing=None if failing is None else failing[:_MAX_FAILING],
        failing_count=len(failing or ()),
        flaky=flaky[:_MAX_FLAKY],
        flaky_count=len(flaky),
        slowest=slowest_tests(cases)[:_MAX_SLOW],
        complete_runs=len(complete_runs),
    )


def _failing_tests(finished: Sequence[Session], failed_runs: Sequence[TestRun]) -> list[FailingTest] | None:
    failing = {run.session.id: frozenset(case.key for case in run.cases) for run in failed_runs}
    newest = next((run for run in failed_runs if finished and run.session.id == finished[0].id), None)
    if newest is None:
        return None
    cases = {case.key: case for case in reversed(newest.cases)}  # the first of several with the same key
    tests = [
        FailingTest(key, case.html_url, _message(case), find_test_streak(finished, failing, key))
        for key, case in sorted(cases.items(), key=lambda item: str(item[0]))
    ]
    return sorted(tests, key=lambda test: -test.streak.first.relative_id)


def _message(case: TestCase) -> str | None:
    """Return why a test failed: the message, else the first line of the details, else the type."""
    failure = case.failure
    if failure is None:
        return None
    lines = (failure.text or "").strip().splitlines()
    return failure.message or (lines[0] if lines else failure.type)
