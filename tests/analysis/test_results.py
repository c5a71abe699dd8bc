from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import ConfigError, TestCase, TestKey, TestStatus
from buddy_sessions.analysis import FlakyTest, compare_cases, flaky_tests, slowest_tests

Cases = list[TestCase]

STATUSES = [*TestStatus, TestStatus("ABORTED"), TestStatus("TIMED_OUT")]

# Few names, statuses and times, so that the same test occurs in several sessions, and twice in one.
_cases = st.builds(
    TestCase,
    id=st.sampled_from("123"),
    name=st.sampled_from("ab"),
    test_group_name=st.sampled_from([None, "", "g"]),
    status=st.sampled_from(STATUSES),
    time=st.none() | st.integers(0, 4).map(lambda tenths: tenths / 10) | st.floats(0, 1e6) | st.integers(0, 3),
    data=st.sampled_from([None, "<testcase/>"]),
)
lists_of_cases = st.lists(_cases, max_size=8)
sequences_of_cases = st.lists(lists_of_cases, max_size=8)

LISTS = ("newly_failing", "fixed", "still_failing", "added", "removed", "slower")


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        *((flaky_tests, {"window": window}) for window in (0, True, 2.0)),
        (flaky_tests, {"flips": 0}),
        (flaky_tests, {"flips": None}),
        *((slowest_tests, {"threshold": threshold}) for threshold in (-0.1, float("nan"), float("inf"), "1")),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)
def test_invalid_argument_is_rejected(function: Any, argument: dict[str, Any]) -> None:
    (name,) = argument
    with pytest.raises(ConfigError, match=name):
        function([], **argument)


def model_flaky_tests(lists: list[Cases], window: int, flips: int) -> list[FlakyTest]:
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
            is_failing = status in {"ERROR", "FAILED"}
            failed += is_failing
            count += last not in {None, is_failing}
            last = is_failing
        if count >= flips:
            found.append(FlakyTest(key=key, flips=count, failed=failed, commits=seen))
    return found


def test_three_flips_in_ten_sessions_are_flaky() -> None:
    passed, failed = (
        [TestCase(id="1", name="pays", status=status)] for status in (TestStatus.PASSED, TestStatus.FAILED)
    )
    pays = FlakyTest(key=TestKey(None, None, "pays"), flips=3, failed=2, commits=4)
    assert flaky_tests([passed, failed] * 2) == [pays]
    assert flaky_tests([passed, failed] * 2 + [failed] * 7) == []


@given(sequences_of_cases, st.integers(1, 9), st.integers(1, 4))
def test_flaky_tests_are_those_of_the_model(lists: list[Cases], window: int, flips: int) -> None:
    flaky = flaky_tests(lists, window=window, flips=flips)
    expected = model_flaky_tests(lists, window, flips)
    assert {test.key: test for test in flaky} == {test.key: test for test in expected}
    assert len(flaky) == len(expected)
    assert [test.flips for test in flaky] == sorted((test.flips for test in expected), reverse=True)


@given(sequences_of_cases, st.none() | st.sampled_from([0, 0.1, 0.2]) | st.floats(0, 1))
def test_slowest_tests_are_those_of_the_model(lists: list[Cases], threshold: float | None) -> None:
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


@given(lists_of_cases, lists_of_cases)
def test_differences_are_those_of_the_model(old: Cases, new: Cases) -> None:
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
        keys = [listed.key for listed in getattr(comparison, name)]
        assert set(keys) == expected[name]
        assert keys == sorted(keys, key=lambda key: (key.group or "", key.name))
    assert {before.key for before, _ in comparison.slower} == expected["slower"]
    assert all(before.key == after.key for before, after in comparison.slower)
