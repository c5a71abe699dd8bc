"""Test cases of several sessions, written as letters, and strategies for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from buddy_sessions import TestCase, TestStatus

Cases = list[TestCase]

LETTERS = {
    "P": TestStatus.PASSED,
    "F": TestStatus.FAILED,
    "E": TestStatus.ERROR,
    "S": TestStatus.SKIPPED,
    "T": TestStatus("TIMED_OUT"),
    "A": TestStatus("ABORTED"),
}


def case(status: str = "P", name: str = "pays", **fields: Any) -> TestCase:
    """Return a test case with a status that is named by its first letter."""
    return TestCase(**{"id": name, "name": name, "status": LETTERS[status], **fields})


def history(statuses: str, name: str = "pays") -> list[Cases]:
    """Return one session for each letter. In a session with a space, the test did not run."""
    return [[] if status == " " else [case(status, name)] for status in statuses]


def names(cases: Iterable[TestCase]) -> list[str]:
    return [case.name for case in cases]


# Few names, statuses and times, so that the same test occurs in several sessions, and twice in one.
_cases = st.builds(
    TestCase,
    id=st.sampled_from("123"),
    name=st.sampled_from("ab"),
    test_group_name=st.sampled_from([None, "", "g"]),
    status=st.sampled_from(sorted(LETTERS.values())),
    time=st.none() | st.integers(0, 4).map(lambda tenths: tenths / 10) | st.floats(0, 1e6) | st.integers(0, 3),
    data=st.sampled_from([None, "<testcase/>"]),
)
lists_of_cases = st.lists(_cases, max_size=8)
sequences_of_cases = st.lists(lists_of_cases, max_size=8)
