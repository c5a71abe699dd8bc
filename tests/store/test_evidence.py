"""What a page proves about the sessions in the database."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from attrs import frozen

from buddy_sessions import Session, SessionStatus
from buddy_sessions.store import evidence
from buddy_sessions.store.evidence import ALL_NUMBERS, PageChanges, SavedSession
from buddy_sessions.store.intervals import Intervals
from buddy_sessions.store.messages import PageToSave
from buddy_sessions.store.rows import StoredId

OTHER, SYNC = 1, 2
"""Syncs. The pages are those of the second one."""

CHANGED = ("changed",)


def name(number: int) -> str:
    return f"id{number}"


def saved(number: int, **fields: Any) -> SavedSession:
    """Return a session in the database."""
    return SavedSession(id=name(number), relative_id=number, row=(number,), **fields)


@frozen
class Page:
    """A page, and the values of its sessions."""

    read: PageToSave
    rows: dict[StoredId, Any]


def new_page(ids: dict[str, int], rows: dict[StoredId, Any], **fields: Any) -> Page:
    """Return a page with sessions, given by their ids and numbers."""
    listed = [Session(id=id_, relative_id=number, status=SessionStatus.SUCCESSFUL) for id_, number in ids.items()]
    given: dict[str, Any] = {"sessions": listed, "listed": listed, "commit": 0, "sync": SYNC, **fields}
    return Page(PageToSave(**given), rows if given["sessions"] else {})


def page(*numbers: int, **fields: Any) -> Page:
    """Return a page with these sessions, whose values are those in the database."""
    sessions = {name(number): number for number in numbers}
    return new_page(sessions, {name(number): (number,) for number in numbers}, **fields)


def changed_page(number: int, **fields: Any) -> Page:
    """Return a page with one session, whose values differ from those in the database."""
    return new_page({name(number): number}, {name(number): CHANGED}, **fields)


def page_of_another(number: int, **fields: Any) -> Page:
    """Return a page with a session that has the number of another session."""
    return new_page({"another": number}, {"another": CHANGED}, **fields)


def judge(page: Page, sessions: Collection[SavedSession], *, others: Intervals = ()) -> PageChanges:
    return evidence.judge(page.read, page.rows, sessions, others=others)


GONE = saved(1, missing_by=OTHER, is_deleted=True)
ANOTHER: dict[str, Any] = {"new": ["another"], "changed": ["another"]}
DROPPED: dict[str, Any] = {"is_contradiction": True, "dropped": ALL_NUMBERS}


@pytest.mark.parametrize(
    ("page", "saved", "expected"),
    [
        pytest.param(page(2, 1), [saved(1)], {"new": ["id2"], "changed": ["id2"]}, id="new"),
        pytest.param(changed_page(1), [saved(1)], {"changed": ["id1"]}, id="changed"),
        pytest.param(page(1), [saved(1, missing_by=SYNC)], {"restored": ["id1"]}, id="found-again"),
        pytest.param(page(proven=(1, 3)), [saved(2)], {"missing": ["id2"], "to_read_again": [2]}, id="missing"),
        pytest.param(page(proven=(1, 3)), [saved(2, missing_by=OTHER)], {"deleted": ["id2"]}, id="missing-twice"),
        pytest.param(page(proven=(1, 3)), [saved(2, missing_by=SYNC)], {"to_read_again": [2]}, id="still-missing"),
        pytest.param(page(proven=(3, 3)), [saved(2), saved(4, missing_by=OTHER)], {}, id="out-of-the-proven-range"),
        pytest.param(
            page(1),
            [saved(1, missing_by=OTHER, is_deleted=True)],
            {"restored": ["id1"]} | DROPPED,
            id="deleted-one-reappears",
        ),
        pytest.param(
            page(1, is_repair=True),
            [saved(1, missing_by=OTHER, is_deleted=True)],
            {"restored": ["id1"]},
            id="in-a-repair",
        ),
        pytest.param(
            page_of_another(2, proven=(1, 3)),
            [saved(2)],
            {**ANOTHER, "missing": ["id2"], "to_read_again": [2], **DROPPED},
            id="another-session-with-its-number",
        ),
        pytest.param(
            page_of_another(2, proven=(1, 3)),
            [saved(2, missing_by=OTHER)],
            {**ANOTHER, "deleted": ["id2"]},
            id="number-of-a-missing-one",
        ),
        pytest.param(page_of_another(2, sessions=()), [saved(2)], DROPPED, id="another-session-out-of-scope"),
        pytest.param(page_of_another(2, listed=()), [saved(2)], ANOTHER, id="list-out-of-order"),
        pytest.param(
            page(8, 7, proven=(7, 8), is_first=True),
            [saved(7), saved(8), saved(9, missing_by=OTHER), saved(10)],
            {"dropped": (9, ALL_NUMBERS[1]), "is_stale": True},
            id="stale-first-page",
        ),
        pytest.param(
            page(8, proven=(8, 8), is_first=True),
            [saved(8), saved(9, missing_by=OTHER)],
            {"deleted": ["id9"]},
            id="missing-above-the-top",
        ),
        pytest.param(
            page_of_another(2, proven=(1, 2), is_first=True),
            [saved(1), saved(2, missing_by=OTHER), saved(3, missing_by=OTHER), saved(4)],
            {**ANOTHER, "missing": ["id1", "id4"], "to_read_again": [1, 4], "deleted": ["id2", "id3"], **DROPPED},
            id="another-list",
        ),
        pytest.param(
            page(is_first=True),
            [saved(1), saved(2)],
            {"missing": ["id1", "id2"], "to_read_again": [1, 2], **DROPPED},
            id="empty-list",
        ),
    ],
)
def test_changes_of_a_page(page: Page, saved: list[SavedSession], expected: dict[str, Any]) -> None:
    changes = judge(page, saved)
    assert changes.is_change == any(expected.get(kind) for kind in ("changed", "restored", "missing", "deleted"))
    assert changes == PageChanges(**expected)


@pytest.mark.parametrize("state", [{}, {"missing_by": OTHER}, {"missing_by": OTHER, "is_deleted": True}])
def test_page_proves_nothing_about_newer_sessions(state: dict[str, Any]) -> None:
    """Another sync has saved or marked them after the page was requested."""
    session = saved(1, is_newer=True, **state)
    for each in (changed_page(1, proven=(1, 3)), page(proven=(1, 3)), page(is_first=True)):
        assert judge(each, [session]) == PageChanges()
    assert not judge(page_of_another(1, proven=(1, 3)), [session]).is_contradiction
