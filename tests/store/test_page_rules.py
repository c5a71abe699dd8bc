"""What a page proves about the sessions in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from buddy_sessions import Session, SessionStatus
from buddy_sessions.store.page_rules import PageChanges, PageToSave, SavedSession, find_changes, is_check_due
from buddy_sessions.store.suites import ABSENCES, ALL_NUMBERS, Interval, KnownEnd, Marks, SuiteState, next_marks

OLD, NEW, NOW = (datetime(year, 1, 1, tzinfo=UTC) for year in (2025, 2026, 2027))


def saved(number: int, **marks: bool) -> SavedSession:
    """Return a session in the database."""
    return SavedSession(number, f"id{number}", number, ("saved",), **marks)


Page = tuple[PageToSave, dict[str, Any]]
"""A page, and the values of its sessions."""


def page(
    *numbers: int, id_: str | None = None, row: str = "saved", date: datetime | None = None, **fields: Any
) -> Page:
    """Return a page with these sessions. By default, their ids and values are those in the database."""
    ids = {id_ or f"id{number}": number for number in numbers}
    listed = [
        Session(id=each, relative_id=number, status=SessionStatus.SUCCESSFUL, create_date=date)
        for each, number in ids.items()
    ]
    given: dict[str, Any] = {"sessions": listed, "listed": listed, **fields}
    return PageToSave(**given), {each: (row,) for each in ids if given["sessions"]}


def page_of_another(number: int, **fields: Any) -> Page:
    """Return a page with a session that has the number of another session."""
    return page(number, id_="another", **fields)


GONE = saved(1, is_missing=True, is_deleted=True)
ANOTHER: dict[str, Any] = {"new": ["another"], "changed": ["another"]}
AGAIN: dict[str, Any] = {"is_contradiction": True}
RECREATED: dict[str, Any] = {"is_contradiction": True, "is_recreated": True}

CASES: dict[str, tuple[Page, list[SavedSession], dict[str, Any]]] = {
    "found-again": (page(1), [saved(1, is_missing=True)], {"restored": [1], "present": [1]}),
    "listed-but-read-before": (page(1, sessions=()), [saved(1, is_missing=True)], {"restored": [1], "present": [1]}),
    "deleted-one-reappears": (page(1), [GONE], {"restored": [1], "present": [1], **AGAIN}),
    "after-a-contradiction": (page(1, after_contradiction=True), [GONE], {"restored": [1], "present": [1]}),
    "another-session-with-its-number": (
        page_of_another(9, proven=(9, 9)),
        [saved(9)],
        {**ANOTHER, **RECREATED, "absent": [(1, 9)]},
    ),
    "number-of-a-missing-one": (page_of_another(9), [saved(9, is_missing=True)], ANOTHER),
    "another-session-out-of-scope": (
        page_of_another(9, sessions=()),
        [saved(9)],
        {**RECREATED, "absent": [(1, 9)]},
    ),
    "list-out-of-order": (page_of_another(9, listed=()), [saved(9)], ANOTHER),
    "older-than-since": (page(5, 1, too_old={1, 5}, row="changed"), [saved(1)], {"changed": ["id1"], "present": [1]}),
    "in-the-known-range-but-not-saved": (page_of_another(4), [], {**ANOTHER, **AGAIN}),
    "rejected-page-in-the-known-range": (page_of_another(4, sessions=()), [], AGAIN),
    "in-the-known-range-but-pruned": (page_of_another(4, sessions=(), date=OLD), [], {}),
    "below-the-known-range-but-younger": (page_of_another(1, date=NEW), [], {**ANOTHER, **AGAIN}),
    "below-the-known-range-and-older": (page_of_another(1, date=datetime(2025, 3, 1, tzinfo=UTC)), [], ANOTHER),
    "first-page-of-what-was-pruned": (page(8, date=OLD, sessions=(), is_first=True), [], {"is_outdated": True}),
    "another-list": (
        page_of_another(8, proven=(8, 8), is_first=True),
        [],
        {**ANOTHER, "absent": [ALL_NUMBERS], **RECREATED},
    ),
    "empty-list": (page(is_first=True), [], {}),
}


@pytest.mark.parametrize(("page", "saved", "expected"), CASES.values(), ids=CASES)
def test_changes_of_a_page(page: Page, saved: list[SavedSession], expected: dict[str, Any]) -> None:
    """The newest living session is 10; 2 to 4 are known, and everything below is older."""
    state = SuiteState(known=(2, 4), older_than=datetime(2025, 6, 1, tzinfo=UTC))
    state = evolve(state, pruned_before=datetime(2025, 2, 1, tzinfo=UTC))
    assert find_changes(*page, saved, state, newest=10) == PageChanges(**expected)


def test_marks() -> None:
    """Each sync counts once; both times are those of the first one, unless its clock was ahead."""
    assert ABSENCES == 2  # as the guide says
    marks = Marks()
    for sync in range(1, ABSENCES + 1):
        for _ in range(2):
            marks = next_marks(marks, f"2026-01-0{sync}")
        deleted_at = "2026-01-01" if sync == ABSENCES else None
        assert marks == Marks("2026-01-01", deleted_at, sync, f"2026-01-0{sync}")
    assert next_marks(marks, "2027-01-01") == marks
    ahead = Marks("2099-01-01", None, ABSENCES - 1, "2099-01-01")
    assert next_marks(ahead, "2026-01-01")[:2] == ("2026-01-01", "2026-01-01")


@pytest.mark.parametrize(
    ("age", "pause"),
    [
        (timedelta(minutes=10), timedelta(minutes=1)),
        (timedelta(hours=5), timedelta(minutes=30)),
        (timedelta(days=1000), timedelta(days=1)),
        pytest.param(timedelta(hours=-3), timedelta(minutes=1), id="in-the-future"),
        pytest.param(None, timedelta(minutes=1), id="unknown"),
    ],
    ids=str,
)
def test_unfinished_session_is_due_after_a_tenth_of_its_age(age: timedelta | None, pause: timedelta) -> None:
    created, checked = None if age is None else NOW - age, NOW - pause
    assert is_check_due(created, checked, now=NOW)
    assert not is_check_due(created, checked, now=NOW - timedelta(seconds=20))
    assert is_check_due(created, NOW + timedelta(days=9), now=NOW), "the clock was ahead"


class TestKnownRange:
    @pytest.mark.parametrize(
        ("read", "is_end", "known"),
        [
            ((5, 9), False, (3, 9)),
            ((1, 3), False, (1, 5)),
            pytest.param((6, 9), False, (3, 5), id="only-touches"),
            ((6, 9), True, (3, 9)),
            ((7, 9), True, (7, 9)),
        ],
    )
    def test_read_range_extends_one_that_it_overlaps(self, read: Interval, is_end: bool, known: Interval) -> None:
        """If they only touch, the read may be of another suite of that name, unless the list ends there."""
        assert SuiteState(known=(3, 5)).extend(read, is_end=is_end).known == known

    @pytest.mark.parametrize(
        ("fields", "bottom"),
        [
            ({"known": (1, 9)}, "start"),
            ({"known": (5, 9)}, None),
            ({"known": (5, 9), "older_than": NEW}, "since"),
            ({"known": (5, 9), "end": KnownEnd(5, NOW)}, "retention"),
            ({"known": (1, 9), "pruned_before": OLD}, "prune"),
            ({"known": (5, 9), "pruned_before": OLD, "older_than": OLD}, "prune"),
            ({"known": (5, 9), "pruned_before": OLD, "older_than": NEW}, "since"),
            ({"known": (5, 9), "pruned_before": OLD}, None),
        ],
    )
    def test_what_is_below(self, fields: dict[str, Any], bottom: str | None) -> None:
        assert SuiteState(**fields).bottom == bottom

    @pytest.mark.parametrize(
        ("found", "number", "is_final"),
        [
            ([(5, OLD)], 5, False),
            ([(5, OLD), (5, OLD)], 5, False),
            ([(5, OLD), (5, NEW)], 5, True),
            pytest.param([(5, OLD), (7, NEW)], 5, True, id="moved-meanwhile"),
            pytest.param([(5, OLD), (3, NEW)], 3, False, id="was-wrong"),
            pytest.param([(5, OLD), (5, NEW), (7, NOW)], 7, False, id="moved-later"),
        ],
    )
    def test_second_sync_decides_where_the_list_ends(
        self, found: list[tuple[int, datetime]], number: int, is_final: bool
    ) -> None:
        state = SuiteState(known=(3, 9))
        for each, now in found:
            state = state.end_at(each, now)
        assert state.end is not None
        assert (state.end.number, state.end.is_final) == (number, is_final)
