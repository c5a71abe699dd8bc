"""The difference between two sessions."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from ..models import TestCase
from .by_test import group_by_test, longest, sort_cases, sort_key, worst


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


def compare(old: Iterable[TestCase], new: Iterable[TestCase]) -> Comparison:
    """Return the difference between two sessions.

    Args:
        old: The test cases of the old session.
        new: The test cases of the new session.
    """
    old_tests, new_tests = group_by_test(old), group_by_test(new)
    before = {key: worst(cases) for key, cases in old_tests.items()}
    after = {key: worst(cases) for key, cases in new_tests.items()}
    in_both = [key for key in after if key in before]
    failing_before = {key for key, case in before.items() if case.is_failing}
    pairs = [(longest(old_tests[key]), longest(new_tests[key])) for key in in_both]
    return Comparison(
        newly_failing=sort_cases(case for key, case in after.items() if case.is_failing and key not in failing_before),
        fixed=sort_cases(case for key, case in after.items() if not case.is_failing and key in failing_before),
        still_failing=sort_cases(case for key, case in after.items() if case.is_failing and key in failing_before),
        added=sort_cases(case for key, case in after.items() if key not in before),
        removed=sort_cases(case for key, case in before.items() if key not in after),
        slower=sorted((pair for pair in pairs if _is_slower(*pair)), key=lambda pair: sort_key(pair[1].key)),
    )


def _is_slower(old: TestCase, new: TestCase) -> bool:
    if old.time is None or new.time is None:
        return False
    # Rounded to microseconds, because 0.15 - 0.05 is less than 0.1.
    return new.time >= 2 * old.time and round(new.time - old.time, 6) >= 0.1
