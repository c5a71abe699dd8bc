"""CI runs: which sessions belong together, and which of them decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Session, SessionStatus
from buddy_sessions.analysis.runs import CIRun, find_ci_runs, newest_streak, usual_size

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


@pytest.mark.parametrize(
    ("sessions", "verdicts", "decides"),
    [
        ("a+ a+ a+ b+ b- b+", [True, False], 5),
        ("a- a+", [True], 1),
        ("a+ a+ b+ b+ c- c- c+ c+", [False, False, False], 8),
        ("a+ a+ b+ b+ c- c- c+ c-", [True, False, False], 8),
        ("a+ a+ b- b?", [None, False], 3),
        ("a+ b- b?", [None, False], 3),
        ("a+ a+ b? b+ b+", [False, False], 5),
        ("as bs b+", [False, None], 3),
    ],
    ids=[
        "matrix with a red job",
        "first matrix",
        "run again: the newest two of four decide",
        "run again: red",
        "running",
        "run again: running",
        "first attempt was killed",
        "skipped",
    ],
)
def test_verdicts(sessions: str, verdicts: list[bool | None], decides: int) -> None:
    """The sessions are written oldest first, the verdicts newest first."""
    runs = find_ci_runs(history(sessions))
    assert ([run.is_failing for run in runs], runs[0].session.relative_id) == (verdicts, decides)


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
    assert [numbers(run) for run in find_ci_runs(sessions)] == [[8], [7], [6, 5], [4, 3], [2, 1], [0]]


@pytest.mark.parametrize(("sizes", "expected"), [([], 1), ([3], 3), ([3, 1], 1), ([3, 1, 2], 2)])
def test_usual_size_is_the_lower_median(sizes: list[int], expected: int) -> None:
    assert usual_size([history("a+ " * size) for size in sizes]) == expected


def test_streak_counts_runs() -> None:
    streak = newest_streak(find_ci_runs(history("a+ a+ b- b+ c+ c- d- d-")))
    assert (streak.first.relative_id, streak.length, str(streak)) == (3, 3, "#3")
    assert streak.before is not None
    assert streak.before.relative_id == 2
    assert str(newest_streak(find_ci_runs(history("a-")))) == "#1 or earlier"


histories = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("+-s?")), max_size=20).map(
    lambda words: history(" ".join(map("".join, words)))
)


@given(histories.flatmap(st.permutations))
def test_each_session_is_in_one_run(sessions: list[Session]) -> None:
    """In any order of the sessions. Runs, and the sessions of each, are newest first."""
    runs = find_ci_runs(sessions)
    assert find_ci_runs(sorted(sessions, key=lambda session: session.relative_id)) == runs
    assert sorted(number for run in runs for number in numbers(run)) == list(range(1, len(sessions) + 1))
    assert all(numbers(run) == sorted(numbers(run), reverse=True) for run in runs)
    assert [numbers(run)[0] for run in runs] == sorted((numbers(run)[0] for run in runs), reverse=True)
    assert all(len({session.ci_run_url for session in run.sessions}) == 1 for run in runs)


@given(histories.filter(bool), st.integers(1, 4))
def test_only_the_newest_sessions_decide(sessions: list[Session], size: int) -> None:
    run = CIRun(sessions, sessions[:size])
    statuses = {session.status for session in run.deciding}
    expected = None if RUNNING in statuses or statuses == {SKIPPED} else FAILED in statuses
    assert run.is_failing is expected
    assert run.session in run.deciding
