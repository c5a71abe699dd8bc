"""The cases of each test in one session, and the order of the lists that the analyses return."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..models import TestCase, TestKey, TestStatus

_SEVERITY = {TestStatus.PASSED: 0, TestStatus.FAILED: 2, TestStatus.ERROR: 3}
_UNKNOWN_SEVERITY = 1


def group_by_test(cases: Iterable[TestCase]) -> dict[TestKey, list[TestCase]]:
    """Return the cases of one session that are not skipped, by their keys."""
    tests: dict[TestKey, list[TestCase]] = {}
    for case in cases:
        if case.status != TestStatus.SKIPPED:
            tests.setdefault(case.key, []).append(case)
    return tests


def worst(cases: list[TestCase]) -> TestCase:
    """Return the case with the worst status: ERROR, then FAILED, then any unknown one, then PASSED."""
    return _highest(cases, lambda case: (_SEVERITY.get(case.status, _UNKNOWN_SEVERITY), case.status, _time(case)))


def longest(cases: list[TestCase]) -> TestCase:
    """Return the case that took longest. One without a time comes last."""
    return _highest(cases, _time)


def _highest(cases: list[TestCase], rank: Callable[[TestCase], object]) -> TestCase:
    """Return the case with the highest rank. The other fields decide between equal ones, and not their order."""
    if len(cases) == 1:
        return cases[0]
    return max(cases, key=lambda case: (rank(case), repr(case)))


def _time(case: TestCase) -> float:
    return -math.inf if case.time is None else case.time


def sort_cases(cases: Iterable[TestCase]) -> list[TestCase]:
    """Return the cases in the order of their keys."""
    return sorted(cases, key=lambda case: sort_key(case.key))


def sort_key(key: TestKey) -> tuple[str, str, str, str]:
    """Return what to sort a key by. Its `repr` distinguishes None from an empty text."""
    return key.group or "", key.classname or "", key.name, repr(key)
