from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from buddy_sessions import RefType, Session, SessionStatus, main_branch, pass_rate


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
        pytest.param("fix develop trunk fix", "trunk", id="trunk before develop"),
        pytest.param("fix " * 100, None, id="not the most frequent one"),
        pytest.param("trunk " * 100 + "main", "main", id="main, asked for by name, before trunk"),
        pytest.param("fix " * 100 + "main", "main", id="main before the newest 100"),
        pytest.param("7/merge HEAD gh-readonly-queue/main/pr-7-1f", None, id="names that are no branch"),
    ],
)
def test_main_branch(branches: str, expected: str | None) -> None:
    assert main_branch(on_branches(branches)) == expected


@pytest.mark.parametrize("ref", [("main", RefType.TAG), ("main", RefType.PULL_REQUEST), ("main", None)])
def test_only_branches_are_main(ref: tuple[str, RefType | None]) -> None:
    assert main_branch(numbered([ref, ref, ("trunk", RefType.BRANCH)])) == "trunk"
    assert main_branch(numbered([ref, (None, RefType.BRANCH), ("", RefType.BRANCH)])) is None


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


@pytest.mark.parametrize(("days", "expected"), [(90, "master"), (91, "develop")])
def test_main_branch_that_was_left(days: int, expected: str) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    sessions = [evolve(session, create_date=now) for session in on_branches("develop " * 100 + "master")]
    sessions[-1] = evolve(sessions[-1], create_date=now - timedelta(days=days))
    assert main_branch(sessions) == expected
