"""Tests whose status changes from session to session: Buddy's definition of a flaky test."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from attrs import frozen

from .._validate import validate_int
from ..models import FAILING, TestCase, TestKey, TestStatus
from .by_test import group_by_test, sort_key, worst


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
        for key, same_test in group_by_test(cases).items():
            statuses.setdefault(key, []).append(worst(same_test).status)
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
    return sorted(flaky, key=lambda test: (-test.changes, sort_key(test.key)))
