"""Tested commits in examples: which sessions count, and the verdict. The law is in `questions/test_rules`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions import Session, SessionStatus
from buddy_sessions.analysis import TestedCommit
from buddy_sessions.analysis.commits import SessionList
from buddy_sessions.models import RefType

START = datetime(2026, 3, 1, tzinfo=UTC)
STATUSES = {
    "+": SessionStatus.SUCCESSFUL,
    "-": SessionStatus.ERROR,
    "*": SessionStatus.ERROR,  # without a failing test
    "s": SessionStatus.SKIPPED,
    "?": SessionStatus.IN_PROGRESS,
    "!": SessionStatus("TIMED_OUT"),
    "=": SessionStatus("PARTIAL"),
    "q": SessionStatus("QUEUED"),
}


def sessions_of(text: str) -> list[Session]:
    """Return sessions, newest first: `a- a+ | b+8` are two of the commit a, and an hour later one of b with 8 tests.

    Each has 10 tests, of which one fails in a red one, and ends before the next one begins; `~` in front of a word: it
    begins together with the one before it; `+x`: its number of tests is null.
    """
    found: list[Session] = []
    now = START
    for word in text.split():
        if word == "|":
            now += timedelta(hours=2)
            continue
        if not word.startswith("~"):
            now += timedelta(minutes=5)
        commit, mark, count = word.strip("~")[0], word.strip("~")[1], word.strip("~")[2:]
        session = Session(
            id=f"{word}{len(found)}",
            relative_id=len(found) + 1,
            status=STATUSES[mark],
            revision=commit * 40,
            ref_type=RefType.BRANCH,
            ref_name="main",
            create_date=now,
            finish_date=None if mark in "?q!" else now + timedelta(minutes=4),
            tests_count=None if count == "x" else int(count or 10),
            failed_count=int(mark in "-!"),
        )
        found.append(session)
    return found[::-1]


def commits_of(text: str, *, below: str = "nothing") -> list[TestedCommit]:
    sessions = sessions_of(text)
    newest = sessions[0].create_date or START
    listed = SessionList(sessions=sessions, below=below, as_of=newest + timedelta(hours=1))  # type: ignore[arg-type]
    return listed.commits


def counted(commit: TestedCommit) -> list[int]:
    return [session.relative_id for session in commit.counted]


@pytest.mark.parametrize(
    ("history", "is_failing", "numbers"),
    [
        pytest.param("a+ b+", False, [2], id="green"),
        pytest.param("a+ b-", True, [2], id="red"),
        pytest.param("a+ b!", True, [2], id="an unknown status with a failing test is red"),
        pytest.param("a+ b?", None, [2], id="running"),
        pytest.param("a+ bs", None, [2], id="skipped"),
        pytest.param("a+ b=", None, [2], id="an unknown status, finished"),
        pytest.param("a+ bq " + "| " * 24 + "b+", None, [3, 2], id="an unknown status for two days: not killed"),
        pytest.param("a+ b- ~bq", True, [3, 2], id="red, with an unknown status"),
        pytest.param("a+ b+x", None, [2], id="a null count, while another has one"),
        pytest.param("a+x b+x", False, [2], id="null counts only"),
        pytest.param("a+ ~a+ b- ~b?", True, [4, 3], id="red before the last job has ended"),
        pytest.param("a+ b- b+", False, [3], id="run again: green"),
        pytest.param("a+ b- b-", True, [3], id="run again: red"),
        pytest.param("a+ b- ~b+", True, [3, 2], id="a job beside the red one is no re-run"),
        pytest.param("a+ a+ b- b+", True, [4, 3], id="a job after the red one is no re-run, if there are usually two"),
        pytest.param("a+ a+ b- b+ b+", False, [5, 4], id="the third of usually two is a re-run"),
        pytest.param("a+ b- b+5", True, [3, 2], id="with half of the tests, it is no re-run"),
        pytest.param("a+ b- | b+", False, [3], id="a nightly run of the same commit"),
        pytest.param("a+ a+ b- b+ | b+", True, [5, 4, 3], id="a smaller round is added"),
        pytest.param("a+ a+ b- b+ | b+20", True, [5, 4, 3], id="also with as many tests"),
        pytest.param("a+ b- | b+5", True, [3, 2], id="a round with half of the tests is added"),
        pytest.param("a+ b- | b+20", True, [3, 2], id="a nightly run of other tests is added"),
        pytest.param("a+ b- | b+11", False, [3], id="a round with a tenth more tests"),
        pytest.param("a+ b- | b+9", False, [3], id="a round with a tenth fewer tests"),
        pytest.param("a+ a+ | a+ b+ b- b-", True, [6, 4], id="an added round does not raise the usual number"),
        pytest.param("a+ b- | b+x", True, [3, 2], id="a round with an unknown number of tests is added"),
        pytest.param("a+ b*1 | b+", False, [3], id="after a crash, a round with the usual number of tests"),
        pytest.param("a+ b-3 | b+", True, [3, 2], id="after a failing test, it is added"),
        pytest.param("a+ b*1 | b+20", True, [3, 2], id="after a crash, a nightly run of other tests is added"),
        pytest.param("a+100 a+5 b-100 b+100", False, [4], id="run again before the next workflow begins"),
        pytest.param("a+100 a+5 b-100 b+100 b+5", False, [5, 4], id="and when it has ended"),
        pytest.param("a+100 a+100 b-100 b+100", True, [4, 3], id="as many of that number as usual"),
        pytest.param("a+100 a+99 b-100 b+100", True, [4, 3], id="as many with about that number as usual"),
        pytest.param("a+10 b-3 c+3", None, [3], id="a red commit that stopped early does not lower the number"),
        pytest.param("a+ b+3 b= c+3", None, [4], id="nor does one with an unknown status"),
        pytest.param("b-3 c+3", False, [2], id="unless nothing else says how many"),
        pytest.param("b- c+3", None, [2], id="fewer than all red ones before"),
        pytest.param("a+ b+ | b?", False, [2], id="a round that is running"),
        pytest.param("a+ b+ | b-", True, [3], id="a round that is red"),
        pytest.param("a+ b? " + "| " * 11 + "b+", None, [3, 2], id="unfinished for 23 hours"),
        pytest.param("a+ b? " + "| " * 12 + "b+", False, [3], id="unfinished for a day: killed"),
        pytest.param("a+ b+9", False, [2], id="nine of ten tests are enough"),
        pytest.param("a+ b+8", None, [2], id="eight of ten tests are too few"),
        pytest.param("a+5 b+ c+5", False, [3], id="compared with the fewest before"),
        pytest.param("a+ b+0", None, [2], id="no test"),
    ],
)
def test_newest_commit(history: str, is_failing: bool | None, numbers: list[int]) -> None:
    commit = commits_of(history)[0]
    assert (commit.is_failing, counted(commit)) == (is_failing, numbers)


@pytest.mark.parametrize(
    ("history", "number"),
    [
        pytest.param("a+ b- b-", 2, id="the first red one"),
        pytest.param("a+ b+ | b- | b-", 3, id="also on a commit that was green"),
        pytest.param("a- b+ | b+", 2, id="the first green one"),
        pytest.param("a+ b- b+ | b+", 3, id="after the red ones"),
        pytest.param("a+ b?", 2, id="no verdict"),
    ],
)
def test_session_with_which_a_verdict_began(history: str, number: int) -> None:
    assert commits_of(history)[0].turning_session.relative_id == number


def test_rerun_of_an_old_commit_is_not_the_newest() -> None:
    assert [(commit.revision or "")[0] for commit in commits_of("a- b+ c+ a+")] == ["c", "b", "a"]


def test_lowest_commit_of_a_list_that_goes_on_is_left_out() -> None:
    history = "a- ~a+ b+ ~b+ c+ ~c+"
    assert [commit.is_failing for commit in commits_of(history)] == [False, False, True]
    assert [commit.is_failing for commit in commits_of(history, below="more")] == [False, False]


@pytest.mark.parametrize(
    ("below", "older", "verdicts"),
    [
        pytest.param("more", 10, [None], id="ten older commits are needed, and the lowest does not count"),
        pytest.param("more", 11, [False, None], id="ten"),
        pytest.param("more", 12, [False, False, None], id="eleven"),
        pytest.param("out of reach", 3, [False, None], id="as many as there are, if nothing more is read"),
        pytest.param("nothing", 3, [False, False, False, False], id="the whole list"),
    ],
)
def test_evidence_of_a_list_that_goes_on(below: str, older: int, verdicts: list[bool | None]) -> None:
    history = " ".join(f"{chr(ord('A') + number)}+" for number in range(older + 1))
    sessions = sessions_of(history)
    listed = SessionList(sessions=sessions, below=below, as_of=START)  # type: ignore[arg-type]
    assert [commit.is_failing for commit in listed.judged_commits][: len(verdicts)] == verdicts


def test_usual_number_of_a_window() -> None:
    """Most commits have two: a cancelled one with one session says nothing, nor does the lowest one, which is cut."""
    assert commits_of("x+ a- a+ b+ c+ c+ d+ d+", below="more")[-1].is_failing is True
    assert commits_of("x+ x+ a- a+ b+ c+ d+", below="more")[-1].is_failing is False


@pytest.mark.parametrize(("below", "is_failing"), [("nothing", False), ("limit", True), ("more", True)])
def test_nothing_is_a_rerun_if_older_commits_are_unknown(below: str, is_failing: bool) -> None:
    """It may be a job that began when the red one had ended."""
    history = "x+ a- a+" if below == "more" else "a- a+"
    assert commits_of(history, below=below)[0].is_failing is is_failing


def test_sessions_without_a_revision() -> None:
    """They belong together by the URL of their CI run, or by their execution; text that is no URL says nothing."""
    fields: list[dict[str, Any]] = [
        {"ci_run_url": "https://ci.example/1"},
        {"ci_run_url": "https://ci.example/1"},
        {"ci_run_url": "undefined/undefined/actions/runs/undefined", "execution_id": "7"},
        {"execution_id": "7"},
        {"ci_run_url": "undefined"},
        {"ci_run_url": "undefined"},
        {},
    ]
    sessions = [
        Session(id=f"s{number}", relative_id=number, status=SessionStatus.SUCCESSFUL, **each)
        for number, each in enumerate(fields, 1)
    ]
    commits = SessionList(sessions=sessions[::-1], below="nothing", as_of=START).commits
    assert [[each.relative_id for each in commit.sessions] for commit in commits] == [[7], [6], [5], [4, 3], [2, 1]]
