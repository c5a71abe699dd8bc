from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import SlowTest, TestKey, slowest_tests
from helpers.case_histories import Run, case, merged, sequences_of_runs, timed


class TestSlowestTests:
    @pytest.mark.parametrize(
        ("times", "median", "slowest", "runs"),
        [
            ([3, 1, 2], 2, 3, 3),
            ([4, 1, 2, 3], 2.5, 4, 4),
            ([0.5], 0.5, 0.5, 1),
            ([None, 0.5, None, 1.5], 1, 1.5, 2),
            ([0, None], 0, 0, 1),
        ],
    )
    def test_median_and_longest_time(self, times: list[float | None], median: float, slowest: float, runs: int) -> None:
        (slow,) = slowest_tests(timed(*times))
        assert slow == SlowTest(key=TestKey(None, None, "pays"), median=median, slowest=slowest, runs=runs)
        assert (type(slow.median), type(slow.slowest)) == (float, float)

    def test_test_without_times_is_ignored(self) -> None:
        assert slowest_tests([*timed(None, None), [case("S", time=9)]]) == []

    def test_failing_tests_have_times_too(self) -> None:
        assert [test.median for test in slowest_tests([[case(status, time=1.5)] for status in "PFET"])] == [1.5]

    def test_slowest_median_comes_first(self) -> None:
        runs = merged(timed(1, 1, 9, name="a"), timed(2, 2, 2, name="c"), timed(2, 2, 3, name="b"))
        assert [test.key.name for test in slowest_tests(runs)] == ["b", "c", "a"]

    @pytest.mark.parametrize(
        ("threshold", "found"),
        [(None, ["c", "b", "a"]), (0, ["c", "b"]), (0.5, ["c"]), (0.75, []), (1, [])],
    )
    def test_median_must_be_above_the_threshold(self, threshold: float | None, found: list[str]) -> None:
        runs = merged(timed(0, 0, name="a"), timed(0.25, 0.75, name="b"), timed(0.5, 1, name="c"))
        assert [test.key.name for test in slowest_tests(runs, threshold=threshold)] == found

    def test_cases_with_one_key_have_the_longest_time(self) -> None:
        first = [case("P", time=2, id="1"), case("E", time=1, id="2"), case("P", id="3"), case("S", time=9, id="4")]
        second = [case("P", time=0, id="1"), case("P", id="2")]
        (slow,) = slowest_tests([first, second])
        assert (slow.median, slow.slowest, slow.runs) == (1, 2, 2)

    @given(sequences_of_runs, st.none() | st.floats(0, 1))
    def test_model(self, runs: list[Run], threshold: float | None) -> None:
        expected = {}
        for key in {one.key for run in runs for one in run}:
            of_runs = [[c.time for c in run if c.key == key and c.status != "SKIPPED"] for run in runs]
            known = [[time for time in times if time is not None] for times in of_runs]
            longest = [max(times) for times in known if times]
            if longest and (threshold is None or statistics.median(longest) > threshold):
                expected[key] = (statistics.median(longest), max(longest), len(longest))
        slow = slowest_tests(runs, threshold=threshold)
        assert {test.key: (test.median, test.slowest, test.runs) for test in slow} == expected
        assert [test.median for test in slow] == sorted((median for median, _, _ in expected.values()), reverse=True)

    @given(sequences_of_runs, st.randoms(use_true_random=False))
    def test_order_of_sessions_changes_nothing(self, runs: list[Run], shuffler: random.Random) -> None:
        expected = slowest_tests(runs)
        shuffler.shuffle(runs)
        assert slowest_tests(runs) == expected
