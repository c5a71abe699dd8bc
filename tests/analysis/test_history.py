from __future__ import annotations

import random
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import (
    ConfigError,
    ConflictingTest,
    FlakyTest,
    Session,
    SessionStatus,
    TestKey,
    TestRun,
    compare,
    conflicting_tests,
    flaky_tests,
    slowest_tests,
)
from helpers.case_histories import (
    LETTERS,
    Run,
    case,
    history,
    merged,
    names,
    runs_of_cases,
    sequences_of_runs,
    timed,
)

PAYS = TestKey(None, None, "pays")
LISTS = ("newly_failing", "fixed", "still_failing", "added", "removed", "slower")


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        *((function, {"window": window}) for function in (flaky_tests, conflicting_tests) for window in (0, True, 2.0)),
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


def model_flaky_tests(runs: list[Run], window: int, changes: int) -> list[FlakyTest]:
    """Look at one test at a time, and at one session at a time."""
    found = []
    for key in {one.key for run in runs for one in run}:
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
            ("PSFSPSF", 3, 2, 4),
            ("FEFE", 3, 4, 4),
            ("PTPT", 3, 0, 4),
            ("PFPFFFFFFFF", None, 0, 0),
        ],
    )
    def test_three_changes_in_ten_sessions_are_flaky(
        self, statuses: str, changes: int | None, failed: int, runs: int
    ) -> None:
        """The window counts sessions, including those in which the test did not run."""
        flaky = [FlakyTest(key=PAYS, changes=changes, failed=failed, runs=runs)] if changes else []
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


class TestSlowestTests:
    def test_slowest_median_comes_first(self) -> None:
        runs = merged(timed(1, 1, 9, name="a"), timed(2, 2, 2, name="c"), timed(2, 2, 3, name="b"))
        assert [test.key.name for test in slowest_tests(runs)] == ["b", "c", "a"]

    @given(sequences_of_runs, st.none() | st.sampled_from([0, 0.1, 0.2]) | st.floats(0, 1))
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
        assert all(type(test.median) is type(test.slowest) is float for test in slow)
        assert [test.median for test in slow] == sorted((median for median, _, _ in expected.values()), reverse=True)


def run(revision: str | None, cases: Run, *, status: str = "ERROR") -> TestRun:
    session = Session(id="1", relative_id=1, status=SessionStatus(status), revision=revision)
    return TestRun(session, tuple(cases))


def runs_of(text: str) -> list[TestRun]:
    """Return one session for each word: a letter for its revision, and one for each case of a single test."""
    return [run(word[0], [case(status) for status in word[1:]]) for word in text.split()]


@pytest.mark.parametrize(
    ("runs", "revisions", "failed", "count"),
    [
        ("aP aF", "a", 1, 2),
        ("aE bP aP aF", "a", 2, 3),
        ("bF aF aP bP cF", "ba", 2, 4),
        ("aP bF", "", 0, 0),
        ("aF aE aF", "", 0, 0),
        ("aP aS a aT", "", 0, 0),
        ("aF aS aT", "", 0, 0),
        ("aPF aPF", "", 0, 0),
        ("aPF aPP", "a", 1, 2),
    ],
)
def test_test_conflicts_with_itself(runs: str, revisions: str, failed: int, count: int) -> None:
    """Of cases with equal keys in one session, the worst counts: they prove nothing by themselves."""
    expected = [ConflictingTest(key=PAYS, revisions=tuple(revisions), failed=failed, runs=count)] if count else []
    assert conflicting_tests(iter(runs_of(runs))) == expected


@pytest.mark.parametrize(
    ("revision", "status", "found"),
    [
        ("a", "ERROR", 1),
        ("a", "SUCCESSFUL", 1),
        ("a", "IN_PROGRESS", 0),
        ("a", "SKIPPED", 0),
        ("a", "TIMED_OUT", 0),
        (None, "ERROR", 0),
        ("", "ERROR", 0),
    ],
)
def test_session_needs_a_verdict_and_a_revision(revision: str | None, status: str, found: int) -> None:
    runs = [run(revision, [case("P")]), run(revision, [case("F")], status=status)]
    assert len(conflicting_tests(runs)) == found


def test_most_commits_come_first() -> None:
    sessions = [run(letter, [case(status, name) for name in names]) for letter, status, names in ONE_AND_TWO]
    assert [(test.key.name, len(test.revisions)) for test in conflicting_tests(sessions)] == [
        ("c", 2),
        ("a", 1),
        ("b", 1),
    ]


ONE_AND_TWO = [("x", "P", "bc"), ("x", "F", "bc"), ("y", "P", "ca"), ("y", "F", "ca")]


@pytest.mark.parametrize(("window", "found"), [(None, 1), (3, 1), (2, 0), (1, 0), (9, 1)])
def test_window_is_the_last_sessions(window: int | None, found: int) -> None:
    assert len(conflicting_tests(runs_of("aP bP aF"), window=window)) == found


_runs = st.lists(st.builds(run, st.sampled_from("ab"), runs_of_cases), max_size=8)


@given(_runs, st.randoms(use_true_random=False))
def test_order_of_sessions_changes_nothing(runs: list[TestRun], shuffler: random.Random) -> None:
    def found() -> dict[TestKey, Any]:
        return {test.key: (set(test.revisions), test.failed, test.runs) for test in conflicting_tests(runs)}

    expected = found()
    shuffler.shuffle(runs)
    assert found() == expected
    assert all(0 < failed < count for _, failed, count in expected.values())


class TestCompare:
    @pytest.mark.parametrize(
        ("old", "new", "lists"),
        [
            ("P", "F", {"newly_failing"}),
            ("F", "P", {"fixed"}),
            ("F", "E", {"still_failing"}),
            ("E", "T", set()),
            (" ", "P", {"added"}),
            (" ", "F", {"added", "newly_failing"}),
            ("F", " ", {"removed"}),
            ("F", "S", {"removed"}),
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
            (0.05, 0.15, True),
            (0.05, 0.149, False),
            (None, 5, False),
            (5, None, False),
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
        [("PFP", "F"), ("FEF", "E"), ("EFT", "E"), ("TFT", "F"), ("PAP", "A"), ("ATA", "T"), ("SPS", "P")],
    )
    def test_cases_with_one_key_have_the_worst_status(self, statuses: str, worst: str) -> None:
        """Of two unknown statuses, it is the last one in alphabetical order."""
        (added,) = compare([], [case(status, id=str(number)) for number, status in enumerate(statuses)]).added
        assert added.status == LETTERS[worst]

    @given(runs_of_cases, runs_of_cases)
    def test_model(self, old: Run, new: Run) -> None:
        expected: dict[str, set[TestKey]] = {name: set() for name in LISTS}
        for key in {one.key for one in old + new}:
            before, after = ([c for c in run if c.key == key and c.status != "SKIPPED"] for run in (old, new))
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
        comparison = compare(old, new)
        for name in LISTS[:-1]:
            assert {listed.key for listed in getattr(comparison, name)} == expected[name]
        assert {before.key for before, _ in comparison.slower} == expected["slower"]
        assert all(before.key == after.key for before, after in comparison.slower)
