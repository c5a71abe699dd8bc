"""What a page proves about the sessions in the database."""

from __future__ import annotations

from typing import Any

import pytest

from buddy_sessions import Session, SessionStatus
from buddy_sessions.store.evidence import ALL_NUMBERS, PageChanges, SavedSession, judge
from buddy_sessions.store.messages import PageToSave
from buddy_sessions.store.rows import StoredId

OTHER, SYNC = 1, 2
"""Syncs. The pages are those of the second one."""


def saved(number: int, **fields: Any) -> SavedSession:
    """Return a session in the database."""
    return SavedSession(id=f"id{number}", relative_id=number, row=("saved",), **fields)


Page = tuple[PageToSave, dict[StoredId, Any]]
"""A page, and the values of its sessions."""


def page(*numbers: int, id_: str | None = None, row: str = "saved", **fields: Any) -> Page:
    """Return a page with these sessions. By default, their ids and values are those in the database."""
    ids = {id_ or f"id{number}": number for number in numbers}
    listed = [Session(id=each, relative_id=number, status=SessionStatus.SUCCESSFUL) for each, number in ids.items()]
    given: dict[str, Any] = {"sessions": listed, "listed": listed, "commit": 0, "sync": SYNC, **fields}
    return PageToSave(**given), {each: (row,) for each in ids if given["sessions"]}


def page_of_another(number: int, **fields: Any) -> Page:
    """Return a page with a session that has the number of another session."""
    return page(number, id_="another", **fields)


GONE = saved(1, missing_by=OTHER, is_deleted=True)
ANOTHER: dict[str, Any] = {"new": ["another"], "changed": ["another"]}
DROPPED: dict[str, Any] = {"is_contradiction": True, "dropped": ALL_NUMBERS}
COVERED_BY_OTHERS = ((1, 4),)

CASES: dict[str, tuple[Page, list[SavedSession], dict[str, Any]]] = {
    "new": (page(2, 1), [saved(1)], {"new": ["id2"], "changed": ["id2"]}),
    "changed": (page(1, row="changed"), [saved(1)], {"changed": ["id1"]}),
    "found-again": (page(1), [saved(1, missing_by=SYNC)], {"restored": ["id1"]}),
    "missing": (page(proven=(1, 3)), [saved(2)], {"missing": ["id2"], "to_read_again": [2]}),
    "missing-twice": (page(proven=(1, 3)), [saved(2, missing_by=OTHER)], {"deleted": ["id2"]}),
    "still-missing": (page(proven=(1, 3)), [saved(2, missing_by=SYNC)], {"to_read_again": [2]}),
    "missing-on-the-page-before": (
        page(8, proven=(8, 8), claimed=(8, 9)),
        [saved(8), saved(9, missing_by=SYNC)],
        {"to_read_again": [9]},
    ),
    "out-of-the-proven-range": (page(proven=(3, 3)), [saved(2), saved(4, missing_by=OTHER)], {}),
    "missing-for-a-branch": (page(branch="main", proven=(1, 3)), [saved(2)], {}),
    "deleted-one-reappears": (page(1), [GONE], {"restored": ["id1"], **DROPPED}),
    "in-a-repair": (page(1, is_repair=True), [GONE], {"restored": ["id1"]}),
    "another-session-with-its-number": (
        page_of_another(2, proven=(1, 3)),
        [saved(2)],
        {**ANOTHER, "missing": ["id2"], "to_read_again": [2], **DROPPED},
    ),
    "number-of-a-missing-one": (
        page_of_another(2, proven=(1, 3)),
        [saved(2, missing_by=OTHER)],
        {**ANOTHER, "deleted": ["id2"]},
    ),
    "another-session-out-of-scope": (page_of_another(2, sessions=()), [saved(2)], DROPPED),
    "list-out-of-order": (page_of_another(2, listed=()), [saved(2)], ANOTHER),
    "covered-but-none-is-saved": (page_of_another(4, claimed=(4, 6)), [saved(2)], {**ANOTHER, **DROPPED}),
    "covered-and-one-is-saved": (page(4, 3, claimed=(4, 6)), [saved(3)], {"new": ["id4"], "changed": ["id4"]}),
    "stale-first-page": (
        page(8, 7, proven=(7, 8), is_first=True),
        [saved(7), saved(8), saved(9, missing_by=OTHER), saved(10)],
        {"dropped": (9, ALL_NUMBERS[1]), "is_stale": True},
    ),
    "missing-above-the-top": (
        page(8, proven=(8, 8), is_first=True),
        [saved(8), saved(9, missing_by=OTHER)],
        {"deleted": ["id9"]},
    ),
    "another-list": (
        page_of_another(2, proven=(1, 2), is_first=True),
        [saved(1), saved(2, missing_by=OTHER), saved(3, missing_by=OTHER), saved(4)],
        {**ANOTHER, "missing": ["id1", "id4"], "to_read_again": [1, 4], "deleted": ["id2", "id3"], **DROPPED},
    ),
    "empty-list": (
        page(is_first=True),
        [saved(1), saved(2)],
        {"missing": ["id1", "id2"], "to_read_again": [1, 2], **DROPPED},
    ),
}


@pytest.mark.parametrize(("page", "saved", "expected"), CASES.values(), ids=CASES)
def test_changes_of_a_page(page: Page, saved: list[SavedSession], expected: dict[str, Any]) -> None:
    changes = judge(*page, saved, others=COVERED_BY_OTHERS)
    assert changes == PageChanges(**expected)
    assert changes.is_change == any(expected.get(kind) for kind in ("changed", "restored", "missing", "deleted"))


@pytest.mark.parametrize("state", [{}, {"missing_by": OTHER}, {"missing_by": OTHER, "is_deleted": True}])
def test_page_proves_nothing_about_newer_sessions(state: dict[str, Any]) -> None:
    """Another sync has saved or marked them after the page was requested."""
    session = saved(1, is_newer=True, **state)
    for each in (page(1, row="changed", proven=(1, 3)), page(proven=(1, 3)), page(is_first=True)):
        assert judge(*each, [session]) == PageChanges()
    assert not judge(*page_of_another(1, proven=(1, 3)), [session]).is_contradiction
