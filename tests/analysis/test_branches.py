from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from buddy_sessions import MAIN, RefType, Session, SessionStatus, main_branch, pass_rate
from helpers.recordings import RECORDINGS, sessions_of


def numbered(refs: Sequence[tuple[str | None, RefType | None]]) -> list[Session]:
    """Return sessions that tested these references, newest first."""
    count = len(refs)
    return [
        Session(
            id=str(index), relative_id=count - index, status=SessionStatus.SKIPPED, ref_name=name, ref_type=ref_type
        )
        for index, (name, ref_type) in enumerate(refs)
    ]


def on_branches(names: str) -> list[Session]:
    """Return a session for each word, newest first."""
    return numbered([(name, RefType.BRANCH) for name in names.split()])


@pytest.mark.parametrize(
    ("branches", "expected"),
    [
        pytest.param("fix fix master fix main", "main", id="main"),
        pytest.param("fix fix master fix", "master", id="master"),
        pytest.param("trunk fix fix trunk fix", "fix", id="most frequent"),
        pytest.param("trunk fix fix trunk", "trunk", id="equally frequent: tested last"),
        pytest.param("", None, id="no session"),
        pytest.param("trunk " * 99 + "main", "main", id="main within the newest 100"),
        pytest.param("trunk " * 100 + "main", "main", id="main before the newest 100"),
        pytest.param("master " + "trunk " * 99 + "main", "master", id="master is newer"),
        pytest.param(
            "7/merge 7/merge HEAD gh-readonly-queue/main/pr-7-1f trunk", "trunk", id="names that are no branch"
        ),
        pytest.param("7/merge HEAD gh-readonly-queue/main/pr-7-1f", None, id="no other name"),
        pytest.param("7/merge/2 v7/merge", "7/merge/2", id="names that look similar"),
        pytest.param("HEAD " * 90 + "trunk " * 10, "trunk", id="a tenth of the newest 100"),
        pytest.param("HEAD " * 27 + "trunk " * 3, "trunk", id="a tenth of 30"),
        pytest.param("HEAD " * 91 + "trunk " * 9, None, id="less than a tenth"),
        pytest.param("HEAD " * 99 + "main", "main", id="main in less than a tenth"),
    ],
)
def test_main_branch(branches: str, expected: str | None) -> None:
    assert main_branch(on_branches(branches)) == expected


@pytest.mark.parametrize(("days", "expected"), [(90, "main"), (91, "trunk")])
def test_main_that_was_not_tested_for_long_was_renamed(days: int, expected: str) -> None:
    """Compared with the newest session, so that no clock is needed; among the newest 100, it counts however old."""
    newest = datetime(2026, 6, 1, tzinfo=UTC)
    *trunk, old = on_branches("trunk " * 100 + "main")
    sessions = [*(evolve(each, create_date=newest) for each in trunk)]
    old = evolve(old, create_date=newest - timedelta(days))
    assert main_branch([*sessions, old]) == expected
    assert main_branch([*sessions[1:], old]) == "main"


def test_main_branch_is_kept() -> None:
    """While it is tested, until `main` is. What only reporters call a branch is none."""
    assert main_branch(on_branches("fix fix trunk"), kept="trunk") == "trunk"
    assert main_branch(on_branches("fix fix"), kept="trunk") == "fix"
    assert main_branch(on_branches("fix fix trunk main"), kept="trunk") == "main"
    assert main_branch(on_branches("fix HEAD HEAD"), kept="HEAD") == "fix"


@pytest.mark.parametrize("ref", [("main", RefType.TAG), ("main", RefType.PULL_REQUEST), ("main", None)])
def test_only_branches_are_main(ref: tuple[str, RefType | None]) -> None:
    assert main_branch(numbered([ref, ref, ("trunk", RefType.BRANCH)])) == "trunk"
    assert main_branch(numbered([ref, (None, RefType.BRANCH), ("", RefType.BRANCH)])) is None


@pytest.mark.parametrize("recording", [name for name in RECORDINGS if name.startswith("ci-")])
def test_main_branch_of_recorded_sessions(recording: str) -> None:
    (session,) = sessions_of(recording)
    is_branch = re.search("push|schedule|rerun|target|none-branch", recording)  # a pull request target is main's
    expected = ("feature/x" if recording == "ci-none-branch" else "main") if is_branch else None
    assert main_branch([session]) == expected


def test_session_outside_a_repository() -> None:
    (session,) = sessions_of("ci-none-no-git")
    assert (session.ref_type, session.ref_name, session.branch) == (RefType.WILDCARD, None, None)


@pytest.mark.parametrize(
    ("statuses", "rate"),
    [
        (["SUCCESSFUL", "ERROR", "SUCCESSFUL", "SUCCESSFUL"], 0.75),
        (["SUCCESSFUL", "SKIPPED", "IN_PROGRESS", "TIMED_OUT"], 1.0),
        (["ERROR"], 0.0),
        (["SKIPPED", "IN_PROGRESS", "TIMED_OUT"], None),
        ([], None),
    ],
)
def test_pass_rate(statuses: list[str], rate: float | None) -> None:
    sessions = [Session(id=status, relative_id=1, status=SessionStatus(status)) for status in statuses]
    assert pass_rate(iter(sessions)) == rate


def test_main_stays_itself() -> None:
    assert pickle.loads(pickle.dumps(MAIN)) is copy.deepcopy(MAIN) is MAIN
    assert repr(MAIN) == "MAIN"
