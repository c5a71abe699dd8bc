from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import (
    ConfigError,
    ConflictingTest,
    Session,
    SessionStatus,
    TestKey,
    TestRun,
    conflicting_tests,
)
from helpers.case_histories import Run, case, runs_of_cases


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
    key = TestKey(None, None, "pays")
    expected = [ConflictingTest(key=key, revisions=tuple(revisions), failed=failed, runs=count)] if count else []
    assert conflicting_tests(iter(runs_of(runs))) == expected


@pytest.mark.parametrize(
    "other",
    [
        run("a", [case("F")], status="IN_PROGRESS"),
        run("a", [case("F")], status="SKIPPED"),
        run("a", [case("F")], status="TIMED_OUT"),
    ],
    ids=lambda other: other.session.status,
)
def test_session_without_a_verdict_is_ignored(other: TestRun) -> None:
    passed = run("a", [case("P")], status="SUCCESSFUL")
    assert conflicting_tests([passed, other]) == []
    assert len(conflicting_tests([passed, run("a", [case("F")])])) == 1


@pytest.mark.parametrize("revision", [None, ""])
def test_session_without_a_revision_is_ignored(revision: str | None) -> None:
    assert conflicting_tests([run(revision, [case("P")]), run(revision, [case("F")])]) == []


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


@pytest.mark.parametrize("window", [0, -1, True, 2.0])
def test_invalid_window_is_rejected(window: Any) -> None:
    with pytest.raises(ConfigError, match="window"):
        conflicting_tests([], window=window)


_runs = st.lists(st.builds(run, st.sampled_from("ab"), runs_of_cases), max_size=8)


@given(_runs, st.randoms(use_true_random=False))
def test_order_of_sessions_changes_nothing(runs: list[TestRun], shuffler: random.Random) -> None:
    def found() -> dict[TestKey, Any]:
        return {test.key: (set(test.revisions), test.failed, test.runs) for test in conflicting_tests(runs)}

    expected = found()
    shuffler.shuffle(runs)
    assert found() == expected
    assert all(0 < failed < count for _, failed, count in expected.values())
