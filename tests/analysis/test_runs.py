"""CI runs: which sessions belong together, and which of them decide."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Session, SessionStatus
from buddy_sessions.analysis.runs import CIRun, ci_runs, newest_streak, usual_size

PASSED, FAILED, SKIPPED, RUNNING = map(SessionStatus, ("SUCCESSFUL", "ERROR", "SKIPPED", "IN_PROGRESS"))
STATUSES = {"+": PASSED, "-": FAILED, "s": SKIPPED, "?": RUNNING}


def history(text: str) -> list[Session]:
    """Return sessions, oldest first: `a- a+` are two sessions of the CI run `a`, the second one passed."""
    return [
        Session(id=str(number), relative_id=number, status=STATUSES[word[-1]], ci_run_url=f"https://ci/{word[:-1]}")
        for number, word in enumerate(text.split(), 1)
    ]


def numbers(run: CIRun) -> list[int]:
    return [session.relative_id for session in run.sessions]


def test_matrix_with_one_failed_job_is_red() -> None:
    newest, before = ci_runs(history("a+ a+ a+ b+ b- b+"))
    assert (numbers(newest), newest.is_failing, newest.session.relative_id) == ([6, 5, 4], True, 5)
    assert (before.is_failing, before.session.relative_id) == (False, 3)


def test_first_matrix_of_suite_is_red() -> None:
    (run,) = ci_runs(history("a- a+"))
    assert run.is_failing


def test_rerun_replaces_the_first_attempt() -> None:
    """With usually two sessions, the newest two of four decide."""
    newest, _, _ = ci_runs(history("a+ a+ b+ b+ c- c- c+ c+"))
    assert (newest.is_failing, newest.session.relative_id) == (False, 8)
    assert ci_runs(history("a+ a+ b+ b+ c- c- c+ c-"))[0].is_failing


def test_unfinished_session_leaves_the_run_without_verdict() -> None:
    runs = ci_runs(history("a+ a+ b- b?"))
    assert [run.is_failing for run in runs] == [None, False]
    assert ci_runs(history("a+ b- b?"))[0].is_failing is None, "a re-run"
    assert ci_runs(history("a+ a+ b? b+ b+"))[0].is_failing is False, "the first attempt was killed"


def test_skipped_sessions_have_no_verdict() -> None:
    assert [run.is_failing for run in ci_runs(history("as bs b+"))] == [False, None]


def test_runs_by_url_then_execution_then_commit() -> None:
    """The sessions of push and pull_request of one commit are two CI runs: their URLs differ."""
    fields: list[dict[str, Any]] = [
        {"ci_run_url": "https://ci/1", "revision": "cafe"},
        {"ci_run_url": "https://ci/2", "revision": "cafe"},
        {"ci_run_url": "https://ci/2", "revision": "f00d"},
        {"execution_id": "7", "revision": "cafe"},
        {"execution_id": "7", "revision": "f00d", "ci_run_url": ""},
        {"revision": "cafe"},
        {"revision": "cafe"},
        {},
        {},
    ]
    sessions = [Session(id=str(index), relative_id=index, status=PASSED, **each) for index, each in enumerate(fields)]
    assert [numbers(run) for run in ci_runs(sessions)] == [[8], [7], [6, 5], [4, 3], [2, 1], [0]]


@pytest.mark.parametrize(("sizes", "expected"), [([], 1), ([3], 3), ([3, 1], 1), ([3, 1, 2], 2)])
def test_usual_size_is_the_lower_median(sizes: list[int], expected: int) -> None:
    assert usual_size([history("a+ " * size) for size in sizes]) == expected


def test_streak_counts_runs() -> None:
    streak = newest_streak(ci_runs(history("a+ a+ b- b+ c+ c- d- d-")))
    assert (streak.first.relative_id, streak.length, str(streak)) == (3, 3, "#3")
    assert streak.before is not None
    assert streak.before.relative_id == 2
    assert str(newest_streak(ci_runs(history("a-")))) == "#1 or earlier"


histories = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("+-s?")), max_size=20).map(
    lambda words: history(" ".join(map("".join, words)))
)


@given(histories.flatmap(st.permutations))
def test_each_session_is_in_one_run(sessions: list[Session]) -> None:
    """In any order of the sessions. Runs, and the sessions of each, are newest first."""
    runs = ci_runs(sessions)
    assert ci_runs(sorted(sessions, key=lambda session: session.relative_id)) == runs
    assert sorted(number for run in runs for number in numbers(run)) == list(range(1, len(sessions) + 1))
    assert all(numbers(run) == sorted(numbers(run), reverse=True) for run in runs)
    assert [numbers(run)[0] for run in runs] == sorted((numbers(run)[0] for run in runs), reverse=True)
    assert all(len({session.ci_run_url for session in run.sessions}) == 1 for run in runs)


@given(histories, st.integers(1, 4), st.sampled_from("+-s?"))
def test_only_the_newest_sessions_decide(sessions: list[Session], usual: int, other: str) -> None:
    for run in ci_runs(sessions):
        newest = run.sessions[:usual]
        unfinished = any(session.status == RUNNING for session in newest)
        statuses = {session.status for session in newest}
        expected = None if unfinished or statuses == {SKIPPED} else FAILED in statuses
        changed = [*newest, *(evolve(session, status=STATUSES[other]) for session in run.sessions[usual:])]
        decided = CIRun(changed, newest)
        assert decided.is_failing is expected
        assert decided.session in newest
