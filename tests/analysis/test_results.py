from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import ConfigError, TestKey
from buddy_sessions.analysis import FlakyTest, compare_cases, flaky_tests, slowest_tests
from helpers.case_histories import (
    Cases,
    case,
    history,
    lists_of_cases,
    names,
    sequences_of_cases,
)

PAYS = TestKey(None, None, "pays")
LISTS = ("newly_failing", "fixed", "still_failing", "added", "removed", "slower")


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        *((flaky_tests, {"window": window}) for window in (0, True, 2.0)),
        (flaky_tests, {"changes": 0}),
        (flaky_tests, {"changes": None}),
        *((slowest_tests, {"threshold": threshold}) for threshold in (-0.1, float("nan"), float("inf"), "1")),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)
def test_invalid_argument_is_rejected(function: Any, argument: dict[str, Any]) -> None:
    (name,) = argument
    with pytest.raises(ConfigError, match=name):
        function([], **argument)


def model_flaky_tests(lists: list[Cases], window: int, changes: int) -> list[FlakyTest]:
    """Look at one test at a time, and at one list at a time."""
    found = []
    for key in {one.key for cases in lists for one in cases}:
        seen, count, failed, last = 0, 0, 0, None
        for number in range(max(0, len(lists) - window), len(lists)):
            statuses = {str(case.status) for case in lists[number] if case.key == key} - {"SKIPPED"}
            if not statuses:
                continue
            status = next(s for s in ("ERROR", "FAILED", "TIMED_OUT", "ABORTED", "PASSED") if s in statuses)
            seen += 1
            failed += status in {"ERROR", "FAILED"}
            count += last not in {None, status}
            last = status
        if count >= changes:
            found.append(FlakyTest(key=key, changes=count, failed=failed, commits=seen))
    return found


class TestFlakyTests:
    @pytest.mark.parametrize(
        ("statuses", "changes", "failed", "commits"),
        [
            ("PFPF", 3, 2, 4),
            ("PFPFFFFFFFF", None, 0, 0),
        ],
    )
    def test_three_changes_in_ten_sessions_are_flaky(
        self, statuses: str, changes: int | None, failed: int, commits: int
    ) -> None:
        """The window counts sessions, including those in which the test did not run."""
        flaky = [FlakyTest(key=PAYS, changes=changes, failed=failed, commits=commits)] if changes else []
        assert flaky_tests(history(statuses)) == flaky

    def test_equal_tests_are_sorted_by_group_and_class(self) -> None:
        keys = [("", "a"), (None, "b"), ("a", None), ("a", ""), (None, None)]
        lists = [
            [case(status, test_group_name=group, classname=classname) for group, classname in keys] for status in "PF"
        ]
        found = [(test.key.group, test.key.classname) for test in flaky_tests(lists, changes=1)]
        assert found == [(None, None), ("", "a"), (None, "b"), ("a", ""), ("a", None)]

    @given(sequences_of_cases, st.integers(1, 9), st.integers(1, 4))
    def test_model(self, lists: list[Cases], window: int, changes: int) -> None:
        flaky = flaky_tests(lists, window=window, changes=changes)
        expected = model_flaky_tests(lists, window, changes)
        assert {test.key: test for test in flaky} == {test.key: test for test in expected}
        assert len(flaky) == len(expected)
        assert [test.changes for test in flaky] == sorted((test.changes for test in expected), reverse=True)


class TestSlowestTests:
    @given(sequences_of_cases, st.none() | st.sampled_from([0, 0.1, 0.2]) | st.floats(0, 1))
    def test_model(self, lists: list[Cases], threshold: float | None) -> None:
        expected = {}
        for key in {one.key for cases in lists for one in cases}:
            of_lists = [[c.time for c in cases if c.key == key and c.status != "SKIPPED"] for cases in lists]
            known = [[time for time in times if time is not None] for times in of_lists]
            longest = [max(times) for times in known if times]
            if longest and (threshold is None or statistics.median(longest) > threshold):
                expected[key] = (statistics.median(longest), max(longest), len(longest))
        slow = slowest_tests(lists, threshold=threshold)
        assert {test.key: (test.median, test.slowest, test.sessions) for test in slow} == expected
        assert all(type(test.median) is type(test.slowest) is float for test in slow)
        assert [test.median for test in slow] == sorted((median for median, _, _ in expected.values()), reverse=True)


class TestCompare:
    def test_lists_are_sorted_by_key(self) -> None:
        old = [case("F", name, time=0) for name in "dbca"]
        new = [case("P", name, time=1) for name in "cdab"]
        comparison = compare_cases(old, new)
        assert names(comparison.fixed) == list("abcd")
        assert [old.name + new.name for old, new in comparison.slower] == ["aa", "bb", "cc", "dd"]
        assert names(compare_cases(old, []).removed) == names(compare_cases([], new).added) == list("abcd")
        assert (
            names(compare_cases([], old).newly_failing) == names(compare_cases(old, old).still_failing) == list("abcd")
        )

    @given(lists_of_cases, lists_of_cases)
    def test_model(self, old: Cases, new: Cases) -> None:
        expected: dict[str, set[TestKey]] = {name: set() for name in LISTS}
        for key in {one.key for one in old + new}:
            before, after = ([c for c in cases if c.key == key and c.status != "SKIPPED"] for cases in (old, new))
            failed, fails = ({"FAILED", "ERROR"} & {str(c.status) for c in cases} != set() for cases in (before, after))
            was, now = ([c.time for c in cases if c.time is not None] for cases in (before, after))
            is_slower = bool(was and now) and max(now) >= 2 * max(was) and max(now) - max(was) >= 0.1 - 5e-7
            verdicts = (
                fails and not failed,
                failed and {str(c.status) for c in after} == {"PASSED"},
                failed and fails,
                bool(after and not before),
                bool(before and not after),
                is_slower,
            )
            for name, verdict in zip(LISTS, verdicts, strict=True):
                expected[name] |= {key} if verdict else set()
        comparison = compare_cases(old, new)
        for name in LISTS[:-1]:
            assert {listed.key for listed in getattr(comparison, name)} == expected[name]
        assert {before.key for before, _ in comparison.slower} == expected["slower"]
        assert all(before.key == after.key for before, after in comparison.slower)
