from __future__ import annotations

import doctest
import random
import statistics
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddy_sessions import (
    Comparison,
    ConfigError,
    FlakyTest,
    SlowTest,
    TestCase,
    TestKey,
    TestStatus,
    analysis,
    compare,
    flaky_tests,
    slowest_tests,
)

Run = list[TestCase]

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


def history(statuses: str, name: str = "pays") -> list[Run]:
    """Return one session for each letter. In a session with a space, the test did not run."""
    return [[] if status == " " else [case(status, name)] for status in statuses]


def timed(*times: float | None, name: str = "pays") -> list[Run]:
    return [[case(name=name, time=time)] for time in times]


def merged(*histories: list[Run]) -> list[Run]:
    return [list(chain(*runs)) for runs in zip(*histories, strict=True)]


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
runs_of_cases = st.lists(_cases, max_size=8)
sequences_of_runs = st.lists(runs_of_cases, max_size=8)


def results_of(runs: Sequence[Run], **arguments: Any) -> tuple[list[FlakyTest], list[SlowTest], list[Comparison]]:
    """Return what each function says of the sessions, pairwise for `compare`."""
    comparisons = [compare(old, new) for old in runs for new in runs]
    return flaky_tests(runs, changes=1, **arguments), slowest_tests(runs), comparisons


def test_example_of_the_module_runs() -> None:
    results = doctest.testmod(analysis)
    assert results.attempted >= 5
    assert results.failed == 0


class TestAllFunctions:
    @given(sequences_of_runs, runs_of_cases, st.randoms(use_true_random=False))
    def test_skipped_cases_change_nothing(self, runs: list[Run], others: Run, shuffler: random.Random) -> None:
        expected = results_of(runs)
        for other in others:
            run = shuffler.choice(runs or [[]])
            run.insert(shuffler.randint(0, len(run)), attrs.evolve(other, status=TestStatus.SKIPPED))
        assert results_of(runs) == expected

    @given(sequences_of_runs, st.randoms(use_true_random=False))
    def test_order_of_cases_changes_nothing(self, runs: list[Run], shuffler: random.Random) -> None:
        expected = results_of(runs)
        for run in runs:
            shuffler.shuffle(run)
        assert results_of(runs) == expected

    @given(sequences_of_runs)
    def test_iterables_can_be_used_once(self, runs: list[Run]) -> None:
        assert flaky_tests(iter([iter(run) for run in runs]), changes=1) == flaky_tests(runs, changes=1)
        assert slowest_tests(iter([iter(run) for run in runs])) == slowest_tests(runs)
        for run in runs:
            assert compare(iter(run), iter(runs[0])) == compare(run, runs[0])

    def test_no_sessions_have_no_tests(self) -> None:
        assert results_of([]) == ([], [], [])
        nothing = Comparison(newly_failing=[], fixed=[], still_failing=[], added=[], removed=[], slower=[])
        assert results_of([[], []]) == ([], [], [nothing] * 4)

    @pytest.mark.parametrize(
        ("function", "argument"),
        [
            (flaky_tests, {"window": 0}),
            (flaky_tests, {"window": True}),
            (flaky_tests, {"window": 2.0}),
            (flaky_tests, {"changes": 0}),
            (flaky_tests, {"changes": None}),
            (slowest_tests, {"threshold": -0.1}),
            (slowest_tests, {"threshold": float("nan")}),
            (slowest_tests, {"threshold": float("inf")}),
            (slowest_tests, {"threshold": "1"}),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
    )
    def test_invalid_argument_is_rejected(self, function: Any, argument: dict[str, Any]) -> None:
        (name,) = argument
        with pytest.raises(ConfigError, match=name):
            function([], **argument)

    def test_results_are_frozen(self) -> None:
        results: list[Any] = [*flaky_tests(history("PFPF")), *slowest_tests(timed(1)), compare([], [])]
        assert len(results) == 3
        for result in results:
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(result, attrs.fields(type(result))[0].name, None)


def model_flaky_tests(runs: list[Run], window: int, changes: int) -> list[FlakyTest]:
    """Look at one test at a time, and at one session at a time."""
    found = []
    for key in {case.key for run in runs for case in run}:
        seen, count, failed, last = 0, 0, 0, None
        for number in range(max(0, len(runs) - window), len(runs)):
            statuses = {str(case.status) for case in runs[number] if case.key == key} - {"SKIPPED"}
            if not statuses:
                continue
            status = next(s for s in ("ERROR", "FAILED", "TIMED_OUT", "ABORTED", "PASSED") if s in statuses)
            seen += 1
            failed += status in {"ERROR", "FAILED"}
            count += last not in {None, status}
            last = status
        if count >= changes:
            found.append(FlakyTest(key=key, changes=count, failed=failed, runs=seen))
    return found


class TestFlakyTests:
    @pytest.mark.parametrize(
        ("statuses", "changes", "failed", "runs"),
        [
            ("PFPF", 3, 2, 4),
            ("PFPP", None, 1, 4),
            ("PSFSPSF", 3, 2, 4),
            ("P F P F", 3, 2, 4),
            ("FEFE", 3, 4, 4),
            ("PTPT", 3, 0, 4),
            ("PFPFFFFFFF", 3, 8, 10),
            ("PFPFFFFFFFF", None, 0, 0),
            ("PFPFSSSSSSS", None, 0, 0),
            ("", None, 0, 0),
        ],
    )
    def test_three_changes_in_ten_sessions_are_flaky(
        self, statuses: str, changes: int | None, failed: int, runs: int
    ) -> None:
        """The window counts sessions, including those in which the test did not run."""
        flaky = (
            [FlakyTest(key=TestKey(None, None, "pays"), changes=changes, failed=failed, runs=runs)] if changes else []
        )
        assert flaky_tests(history(statuses)) == flaky

    def test_most_changes_come_first(self) -> None:
        runs = merged(history("PFPFF", "b"), history("PFPFF", "a"), history("PFPFP", "c"))
        assert [(test.key.name, test.changes) for test in flaky_tests(runs)] == [("c", 4), ("a", 3), ("b", 3)]

    def test_equal_tests_are_sorted_by_group_and_class(self) -> None:
        keys = [("", "a"), (None, "b"), ("a", None), ("a", ""), (None, None)]
        runs = [
            [case(status, test_group_name=group, classname=classname) for group, classname in keys] for status in "PF"
        ]
        found = [(test.key.group, test.key.classname) for test in flaky_tests(runs, changes=1)]
        assert found == [(None, None), ("", "a"), (None, "b"), ("a", ""), ("a", None)]

    @given(sequences_of_runs, st.integers(1, 9), st.integers(1, 4))
    def test_model(self, runs: list[Run], window: int, changes: int) -> None:
        flaky = flaky_tests(runs, window=window, changes=changes)
        expected = model_flaky_tests(runs, window, changes)
        assert {test.key: test for test in flaky} == {test.key: test for test in expected}
        assert len(flaky) == len(expected)
        assert [test.changes for test in flaky] == sorted((test.changes for test in expected), reverse=True)

    @given(sequences_of_runs, sequences_of_runs, st.integers(1, 9))
    def test_sessions_before_the_window_change_nothing(self, older: list[Run], runs: list[Run], window: int) -> None:
        newest = runs[-window:]
        expected = flaky_tests(newest, window=len(newest) or 1, changes=1)
        if len(newest) == window:
            assert flaky_tests([*older, *runs], window=window, changes=1) == expected
        assert flaky_tests(runs, window=window, changes=1) == expected

    @given(sequences_of_runs)
    def test_larger_window_finds_no_fewer_changes(self, runs: list[Run]) -> None:
        for window in range(1, len(runs)):
            larger = {test.key: test.changes for test in flaky_tests(runs, window=window + 1, changes=1)}
            for test in flaky_tests(runs, window=window, changes=1):
                assert larger[test.key] >= test.changes


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
        for key in {case.key for run in runs for case in run}:
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


LISTS = ("newly_failing", "fixed", "still_failing", "added", "removed", "slower")


class TestCompare:
    @pytest.mark.parametrize(
        ("old", "new", "lists"),
        [
            ("P", "P", set()),
            ("P", "F", {"newly_failing"}),
            ("P", "E", {"newly_failing"}),
            ("F", "P", {"fixed"}),
            ("F", "E", {"still_failing"}),
            ("F", "F", {"still_failing"}),
            ("T", "F", {"newly_failing"}),
            ("E", "T", {"fixed"}),
            ("P", "T", set()),
            (" ", "P", {"added"}),
            (" ", "F", {"added", "newly_failing"}),
            ("S", "F", {"added", "newly_failing"}),
            ("P", " ", {"removed"}),
            ("F", " ", {"removed"}),
            ("F", "S", {"removed"}),
            ("S", "S", set()),
            (" ", "S", set()),
        ],
    )
    def test_lists_of_a_test(self, old: str, new: str, lists: set[str]) -> None:
        (old_run, new_run) = history(old + new)
        comparison = compare(old_run, new_run)
        assert {name for name in LISTS if getattr(comparison, name)} == lists
        for name in lists:
            (listed,) = getattr(comparison, name)
            assert listed is (old_run if name == "removed" else new_run)[0]

    @pytest.mark.parametrize(
        ("old", "new", "is_slower"),
        [
            (1, 2, True),
            (1, 1.999, False),
            (0, 0.1, True),
            (0, 0.099, False),
            (0.05, 0.15, True),
            (0.05, 0.149, False),
            (0.3, 0.6, True),
            (0.01, 0.02, False),
            (2, 1, False),
            (None, 5, False),
            (5, None, False),
            (None, None, False),
        ],
    )
    def test_slower_is_twice_as_long_and_a_tenth_of_a_second_longer(
        self, old: float | None, new: float | None, is_slower: bool
    ) -> None:
        (old_run, new_run) = timed(old, new)
        assert compare(old_run, new_run).slower == ([(old_run[0], new_run[0])] if is_slower else [])

    def test_lists_are_sorted_by_key(self) -> None:
        old = [case("F", name, time=0) for name in "dbca"]
        new = [case("P", name, time=1) for name in "cdab"]
        comparison = compare(old, new)
        assert names(comparison.fixed) == list("abcd")
        assert [old.name + new.name for old, new in comparison.slower] == ["aa", "bb", "cc", "dd"]
        assert names(compare(old, []).removed) == names(compare([], new).added) == list("abcd")
        assert names(compare([], old).newly_failing) == names(compare(old, old).still_failing) == list("abcd")

    @pytest.mark.parametrize(
        ("statuses", "worst"),
        [("PFP", "F"), ("FEF", "E"), ("EFT", "E"), ("TFT", "F"), ("PTP", "T"), ("ATA", "T"), ("SPS", "P")],
    )
    def test_cases_with_one_key_have_the_worst_status(self, statuses: str, worst: str) -> None:
        """Of two unknown statuses, it is the last one in alphabetical order."""
        (added,) = compare([], [case(status, id=str(number)) for number, status in enumerate(statuses)]).added
        assert added.status == LETTERS[worst]

    def test_cases_with_one_key_count_as_one_test(self) -> None:
        """It has the worst status and the longest time, which two different cases may have."""
        old = [case("P", id="1", time=1), case("P", id="2", time=2), case("P", id="3")]
        new = [case("P", id="4", time=4), case("E", id="5", time=1), case("F", id="6", time=9), case("E", id="7")]
        comparison = compare(old, new)
        assert [listed.id for listed in comparison.newly_failing] == ["5"]
        assert [(before.id, after.id) for before, after in comparison.slower] == [("2", "6")]

    def test_order_of_equal_cases_changes_nothing(self) -> None:
        cases = [case("F"), case("F", data="<testcase/>")]
        assert compare([], cases) == compare([], cases[::-1])

    def test_tests_are_compared_by_key_not_by_id(self) -> None:
        old, new = case("P", id="1", classname="Cart"), case("F", id="2", classname="Cart")
        assert compare([old], [new]).newly_failing == [new]
        other = attrs.evolve(old, classname="Checkout")
        assert (compare([old], [other]).added, compare([old], [other]).removed) == ([other], [old])

    @given(runs_of_cases)
    def test_session_does_not_differ_from_itself(self, run: Run) -> None:
        comparison = compare(run, run)
        assert attrs.evolve(comparison, still_failing=[]) == compare([], [])
        assert {listed.key for listed in comparison.still_failing} == {one.key for one in run if one.is_failing}

    @given(runs_of_cases, runs_of_cases)
    def test_swapped_sessions_swap_the_lists(self, old: Run, new: Run) -> None:
        forward, backward = compare(old, new), compare(new, old)
        assert (forward.added, forward.removed) == (backward.removed, backward.added)
        added = {added.key for added in forward.added}
        newly_failing = [listed.key for listed in forward.newly_failing if listed.key not in added]
        assert newly_failing == [listed.key for listed in backward.fixed]
        assert [one.key for one in forward.still_failing] == [one.key for one in backward.still_failing]
        assert not {one.key for one, _ in forward.slower} & {one.key for one, _ in backward.slower}

    @given(runs_of_cases, runs_of_cases)
    @example([case("F")], [case("S")])
    def test_each_failing_test_is_in_one_list(self, old: Run, new: Run) -> None:
        comparison = compare(old, new)
        failing = [one.key for one in comparison.newly_failing + comparison.still_failing]
        assert sorted(failing, key=repr) == sorted({one.key for one in new if one.is_failing}, key=repr)
        failed = comparison.fixed + comparison.still_failing + [one for one in comparison.removed if one.is_failing]
        assert sorted((one.key for one in failed), key=repr) == sorted({o.key for o in old if o.is_failing}, key=repr)

    @given(runs_of_cases, runs_of_cases)
    def test_model(self, old: Run, new: Run) -> None:
        expected: dict[str, set[TestKey]] = {name: set() for name in LISTS}
        for key in {case.key for case in old + new}:
            before, after = ([c for c in run if c.key == key and c.status != "SKIPPED"] for run in (old, new))
            failed, fails = ({"FAILED", "ERROR"} & {str(c.status) for c in cases} != set() for cases in (before, after))
            was, now = ([c.time for c in cases if c.time is not None] for cases in (before, after))
            is_slower = bool(was and now) and max(now) >= 2 * max(was) and max(now) - max(was) >= 0.1 - 5e-7
            verdicts = (
                fails and not failed,
                failed and not fails and bool(after),
                failed and fails,
                bool(after and not before),
                bool(before and not after),
                is_slower,
            )
            for name, verdict in zip(LISTS, verdicts, strict=True):
                expected[name] |= {key} if verdict else set()
        comparison = compare(old, new)
        for name in LISTS[:-1]:
            assert {listed.key for listed in getattr(comparison, name)} == expected[name]
        assert {before.key for before, _ in comparison.slower} == expected["slower"]
        assert all(before.key == after.key for before, after in comparison.slower)
