"""The times of tests in several sessions."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from .._validate import validate_seconds
from ..models import TestCase, TestKey
from .by_test import group_by_test, longest, sort_key


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
        for key, same_test in group_by_test(cases).items():
            time = longest(same_test).time
            if time is not None:
                times.setdefault(key, []).append(time)
    tests = [
        SlowTest(key=key, median=_median(history), slowest=float(max(history)), runs=len(history))
        for key, history in times.items()
    ]
    slow = [test for test in tests if threshold is None or test.median > threshold]
    return sorted(slow, key=lambda test: (-test.median, sort_key(test.key)))


def _median(times: list[float]) -> float:
    """Return the median. The `statistics` module would take a noticeable part of the time to import this package."""
    ordered = sorted(times)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
