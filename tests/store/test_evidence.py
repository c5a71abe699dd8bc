"""What a page proves about the sessions in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Session, SessionStatus
from buddy_sessions.store import evidence
from buddy_sessions.store.evidence import ALL_NUMBERS, PageChanges, SavedSession
from buddy_sessions.store.intervals import Intervals
from buddy_sessions.store.messages import PageToSave
from buddy_sessions.store.rows import StoredId

OTHER, SYNC, NEXT = 1, 2, 3
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


def judge(page: Page, sessions: Collection[SavedSession], sync: int = SYNC, *, others: Intervals = ()) -> PageChanges:
    return evidence.judge(page.read, page.rows, sessions, sync, others=others)


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


@st.composite
def sessions_in_database(draw: st.DrawFn) -> list[SavedSession]:
    states: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [
            {},
            {"missing_by": OTHER},
            {"missing_by": SYNC},
            {"missing_by": OTHER, "is_deleted": True},
            {"is_newer": True},
            {"missing_by": OTHER, "is_newer": True},
        ]
    )
    return [saved(number, **draw(states)) for number in draw(st.sets(st.integers(1, 9)))]


@st.composite
def pages(draw: st.DrawFn) -> Page:
    """Return any page: the server may respond with anything."""
    rows: dict[StoredId, Any] = {}
    sessions: dict[str, int] = {}
    for number in draw(st.sets(st.integers(1, 9))):
        id_ = draw(st.sampled_from([name(number), name(number), f"another{number}"]))
        rows[id_] = draw(st.sampled_from([(number,), CHANGED]))
        sessions[id_] = number
    proven = draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda pair: (min(pair), max(pair))))
    is_first = draw(st.booleans())
    if is_first and proven is not None and sessions:  # a sync claims nothing above its first page
        top = max(sessions.values())
        proven = (proven[0], min(proven[1], top)) if proven[0] <= top else None
    return new_page(sessions, rows, proven=proven, is_first=is_first, is_repair=draw(st.booleans()))


def apply(changes: PageChanges, page: Page, sync: int, sessions: Iterable[SavedSession]) -> list[SavedSession]:
    """Return the sessions in the database after a changes."""
    result = {each.id: each for each in sessions}
    numbers = {session.id: session.relative_id for session in page.read.listed}
    for id_ in changes.changed:
        result[id_] = SavedSession(id=id_, relative_id=numbers[str(id_)], row=page.rows[id_])
    for id_ in changes.restored:
        result[id_] = result[id_]._replace(missing_by=None, is_deleted=False)
    for id_ in changes.missing:
        result[id_] = result[id_]._replace(missing_by=sync)
    for id_ in changes.deleted:
        result[id_] = result[id_]._replace(is_deleted=True)
    return list(result.values())


class TestAnyPage:
    @given(sessions=sessions_in_database(), page=pages())
    def test_absence_is_believed_the_second_time(self, sessions: list[SavedSession], page: Page) -> None:
        changes = judge(page, sessions)
        by_id = {each.id: each for each in sessions}
        low, high = page.read.proven or (1, 0)
        top = page.read.top
        assert all(by_id[id_].missing_by is None for id_ in changes.missing)
        assert all(by_id[id_].missing_by == OTHER for id_ in changes.deleted)
        for id_ in (*changes.missing, *changes.deleted):
            number = by_id[id_].relative_id
            assert id_ not in page.rows
            assert not by_id[id_].is_newer
            assert not by_id[id_].is_deleted
            assert low <= number <= high or (top is not None and number > top)
        assert {by_id[id_].relative_id for id_ in changes.missing} <= set(changes.to_read_again)

    @given(sessions=sessions_in_database(), page=pages())
    def test_presence_is_believed_at_once(self, sessions: list[SavedSession], page: Page) -> None:
        changes = judge(page, sessions)
        after = {each.id: each for each in apply(changes, page, SYNC, sessions)}
        older = [id_ for id_ in page.rows if not after[id_].is_newer]
        assert all(after[id_].row == page.rows[id_] for id_ in older)
        assert all(after[id_].is_living for id_ in older)
        assert set(changes.new) == set(page.rows) - {each.id for each in sessions}
        assert set(changes.new) <= set(changes.changed) <= set(older)
        assert set(changes.restored) <= set(older)

    @given(sessions=sessions_in_database(), page=pages())
    def test_same_page_again_changes_nothing(self, sessions: list[SavedSession], page: Page) -> None:
        """Neither in the same sync, nor after the next one, which may mark sessions as deleted."""
        for sync in (SYNC, NEXT):
            for is_again in (False, True):
                changes = judge(page, sessions, sync)
                assert not (is_again and changes.is_change)
                sessions = apply(changes, page, sync, sessions)
        low, high = page.read.proven or (1, 0)
        absent = [each for each in sessions if low <= each.relative_id <= high and each.id not in page.rows]
        assert all(each.is_deleted or each.is_newer for each in absent)

    @given(sessions=sessions_in_database(), page=pages())
    def test_coverage_is_dropped_once(self, sessions: list[SavedSession], page: Page) -> None:
        changes = judge(page, sessions)
        assert changes.is_contradiction == (changes.dropped == ALL_NUMBERS)
        assert not (page.read.is_repair and changes.is_contradiction)
