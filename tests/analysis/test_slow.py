from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import SlowTest, TestKey, slowest_tests
from helpers.case_histories import Run, merged, sequences_of_runs, timed


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
