"""Compare the test cases of several sessions: flaky tests, slow tests, the difference between two sessions. No I/O.

A run is the list of test cases of one session: `await buddy.cases(suite, session).collect()`, or `cases` of a `TestRun`
from a `SessionStore`. Pass several runs oldest first; a client lists sessions newest first. For all three functions:

- `TestCase.key` identifies a test in every session. The order of the cases within a run makes no difference.
- Skipped cases are ignored: a test that was skipped did not run.
- Cases of one run with the same key, such as parametrised ones, count as one test. It has the worst of their statuses
  (ERROR, then FAILED, then any unknown status, then PASSED) and the longest of their times.
- A test fails if its status is FAILED or ERROR. An unknown status is not a failure.
- Tests with the same position in the order of a list are sorted by their keys.

Example:
    >>> from buddy_sessions import TestCase, TestStatus, compare, flaky_tests, slowest_tests
    >>> results = [("PASSED", 0.25), ("FAILED", 0.5), ("PASSED", 0.25), ("FAILED", 1.5)]
    >>> runs = [[TestCase(id="1", name="pays", status=TestStatus(status), time=time)] for status, time in results]
    >>> for flaky in flaky_tests(runs):
    ...     print(f"{flaky.key} changed {flaky.changes} times, failed in {flaky.failed} of {flaky.runs} sessions")
    pays changed 3 times, failed in 2 of 4 sessions
    >>> for slow in slowest_tests(runs, threshold=0.3):
    ...     print(f"{slow.key} takes {slow.median} s, at most {slow.slowest} s")
    pays takes 0.375 s, at most 1.5 s
    >>> difference = compare(runs[-2], runs[-1])
    >>> print([str(case.key) for case in difference.newly_failing])
    ['pays']
    >>> print([f"{old.time} s -> {new.time} s" for old, new in difference.slower])
    ['0.25 s -> 1.5 s']
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

from attrs import frozen

from ._validate import validate_int, validate_seconds
from .models import FAILING, TestCase, TestKey, TestStatus

_SEVERITY = {TestStatus.PASSED: 0, TestStatus.FAILED: 2, TestStatus.ERROR: 3}
_UNKNOWN_SEVERITY = 1


@frozen(kw_only=True)
class FlakyTest:
    """A test whose status changes from session to session.

    Attributes:
        key: The group, class and name of the test.
        changes: How often its status differed from the one before, within the window.
        failed: The number of sessions of the window in which it failed or ended with an error.
        runs: The number of sessions of the window in which it ran.
    """

    key: TestKey
    changes: int
    failed: int
    runs: int


@frozen(kw_only=True)
class SlowTest:
    """The times of a test in several sessions.

    Attributes:
        key: The group, class and name of the test.
        median: The median of its times, in seconds.
        slowest: The longest of its times, in seconds.
        runs: The number of sessions in which it ran and has a time.
    """

    key: TestKey
    median: float
    slowest: float
    runs: int


@frozen(kw_only=True)
class Comparison:
    """The difference between two sessions. Every list is sorted by the keys of the tests.

    A test that is skipped in one of the sessions did not run there, so it can be in `added` or `removed`. Each test
    that fails in the new session is either in `newly_failing` or in `still_failing`.

    Attributes:
        newly_failing: Tests that fail in the new session and did not fail in the old one, as the new cases. Added tests
            that fail are here as well as in `added`.
        fixed: Tests that failed in the old session and ran in the new one without failing, as the new cases.
        still_failing: Tests that fail in both sessions, as the new cases.
        added: Tests that ran only in the new session, as the new cases.
        removed: Tests that ran only in the old session, as the old cases, whether they failed or not.
        slower: Tests that take at least twice as long as before and at least 0.1 seconds longer, whatever their
            statuses, as pairs of the old and the new case. A test that has no time in one of the sessions is not here.
    """

    newly_failing: list[TestCase]
    fixed: list[TestCase]
    still_failing: list[TestCase]
    added: list[TestCase]
    removed: list[TestCase]
    slower: list[tuple[TestCase, TestCase]]


def flaky_tests(runs: Iterable[Iterable[TestCase]], *, window: int = 10, changes: int = 3) -> list[FlakyTest]:
    """Return the tests whose status changes often, most changes first.

    The defaults are Buddy's definition of a flaky test. Any two different statuses are a change, so one from FAILED to
    ERROR counts as well. Sessions in which a test did not run are ignored: PASSED, skipped, FAILED is one change.

    Args:
        runs: The test cases of each session, oldest session first.
        window: The number of sessions to look at: the last ones of `runs`.
        changes: The minimum number of changes.

    Raises:
        ConfigError: `window` or `changes` is not a whole number of at least 1.
    """
    validate_int("window", window)
    validate_int("changes", changes)
    statuses: dict[TestKey, list[TestStatus]] = {}
    for cases in list(runs)[-window:]:
        for key, same_test in _group_by_test(cases).items():
            statuses.setdefault(key, []).append(_worst(same_test).status)
    tests = [
        FlakyTest(
            key=key,
            changes=sum(before != after for before, after in pairwise(history)),
            failed=sum(status in FAILING for status in history),
            runs=len(history),
        )
        for key, history in statuses.items()
    ]
    flaky = [test for test in tests if test.changes >= changes]
    return sorted(flaky, key=lambda test: (-test.changes, _sort_key(test.key)))


def slowest_tests(runs: Iterable[Iterable[TestCase]], *, threshold: float | None = None) -> list[SlowTest]:
    """Return the times of all tests, slowest median first. Cases without a time are ignored.

    Args:
        runs: The test cases of each session, in any order.
        threshold: Return only tests whose median is above this number of seconds. Buddy's own threshold is in
            milliseconds: pass `suite.slow_threshold / 1000`.

    Raises:
        ConfigError: `threshold` is not a finite number of at least 0.
    """
    if threshold is not None:
        validate_seconds("threshold", threshold, zero_allowed=True)
    times: dict[TestKey, list[float]] = {}
    for cases in runs:
        for key, same_test in _group_by_test(cases).items():
            time = _longest(same_test).time
            if time is not None:
                times.setdefault(key, []).append(time)
    tests = [
        SlowTest(key=key, median=_median(history), slowest=float(max(history)), runs=len(history))
        for key, history in times.items()
    ]
    slow = [test for test in tests if threshold is None or test.median > threshold]
    return sorted(slow, key=lambda test: (-test.median, _sort_key(test.key)))


def compare(old: Iterable[TestCase], new: Iterable[TestCase]) -> Comparison:
    """Return the difference between two sessions.

    Args:
        old: The test cases of the old session.
        new: The test cases of the new session.
    """
    old_tests, new_tests = _group_by_test(old), _group_by_test(new)
    before = {key: _worst(cases) for key, cases in old_tests.items()}
    after = {key: _worst(cases) for key, cases in new_tests.items()}
    in_both = [key for key in after if key in before]
    failing_before = {key for key, case in before.items() if case.is_failing}
    longest = [(_longest(old_tests[key]), _longest(new_tests[key])) for key in in_both]
    return Comparison(
        newly_failing=_sorted(case for key, case in after.items() if case.is_failing and key not in failing_before),
        fixed=_sorted(case for key, case in after.items() if not case.is_failing and key in failing_before),
        still_failing=_sorted(case for key, case in after.items() if case.is_failing and key in failing_before),
        added=_sorted(case for key, case in after.items() if key not in before),
        removed=_sorted(case for key, case in before.items() if key not in after),
        slower=sorted((pair for pair in longest if _is_slower(*pair)), key=lambda pair: _sort_key(pair[1].key)),
    )


def _group_by_test(cases: Iterable[TestCase]) -> dict[TestKey, list[TestCase]]:
    """Return the cases of one session that are not skipped, by their keys."""
    tests: dict[TestKey, list[TestCase]] = {}
    for case in cases:
        if case.status != TestStatus.SKIPPED:
            tests.setdefault(case.key, []).append(case)
    return tests


def _worst(cases: list[TestCase]) -> TestCase:
    return _highest(cases, lambda case: (_SEVERITY.get(case.status, _UNKNOWN_SEVERITY), case.status, _time(case)))


def _longest(cases: list[TestCase]) -> TestCase:
    return _highest(cases, _time)


def _highest(cases: list[TestCase], rank: Callable[[TestCase], object]) -> TestCase:
    """Return the case with the highest rank. The other fields decide between equal ones, and not their order."""
    if len(cases) == 1:
        return cases[0]
    return max(cases, key=lambda case: (rank(case), repr(case)))


def _time(case: TestCase) -> float:
    return -math.inf if case.time is None else case.time


def _median(times: list[float]) -> float:
    """Return the median. The `statistics` module would take a noticeable part of the time to import this package."""
    ordered = sorted(times)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _is_slower(old: TestCase, new: TestCase) -> bool:
    if old.time is None or new.time is None:
        return False
    # Rounded to microseconds, because 0.15 - 0.05 is less than 0.1.
    return new.time >= 2 * old.time and round(new.time - old.time, 6) >= 0.1


def _sorted(cases: Iterable[TestCase]) -> list[TestCase]:
    return sorted(cases, key=lambda case: _sort_key(case.key))


def _sort_key(key: TestKey) -> tuple[str, str, str, str]:
    """Return what to sort a key by. Its `repr` distinguishes None from an empty text."""
    return key.group or "", key.classname or "", key.name, repr(key)
