"""What a page proves about the sessions in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from buddy_sessions import Session, SessionStatus
from buddy_sessions.store.columns import StoredId
from buddy_sessions.store.evidence import PageChanges, SavedSession, judge
from buddy_sessions.store.exchange import ALL_NUMBERS, NOTHING_KNOWN, KnownRange, PageToSave

OLD, NEW = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


def saved(number: int, *, is_missing: bool = False, is_deleted: bool = False) -> SavedSession:
    """Return a session in the database."""
    return SavedSession(number, f"id{number}", number, ("saved",), is_missing or is_deleted, is_deleted)


Page = tuple[PageToSave, dict[StoredId, Any]]
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


GONE = saved(1, is_deleted=True)
ANOTHER: dict[str, Any] = {"new": ["another"], "changed": ["another"]}
AGAIN: dict[str, Any] = {"is_contradiction": True}
RECREATED: dict[str, Any] = {"is_contradiction": True, "is_recreated": True}
ABOVE_8, ABOVE_2 = (9, ALL_NUMBERS[1]), (3, ALL_NUMBERS[1])

CASES: dict[str, tuple[Page, list[SavedSession], dict[str, Any]]] = {
    "new": (page(5, 1), [saved(1)], {"new": ["id5"], "changed": ["id5"], "present": [1]}),
    "changed": (page(1, row="changed"), [saved(1)], {"changed": ["id1"], "present": [1]}),
    "found-again": (page(1), [saved(1, is_missing=True)], {"restored": [1], "present": [1]}),
    "listed-but-read-before": (page(1, sessions=()), [saved(1, is_missing=True)], {"restored": [1], "present": [1]}),
    "proven-range": (page(proven=(1, 3)), [], {"absent": [(1, 3)]}),
    "deleted-one-reappears": (page(1), [GONE], {"restored": [1], "present": [1], **AGAIN}),
    "in-a-repair": (page(1, is_repair=True), [GONE], {"restored": [1], "present": [1]}),
    "another-session-with-its-number": (page_of_another(9), [saved(9)], {**ANOTHER, **RECREATED}),
    "number-of-a-missing-one": (page_of_another(9), [saved(9, is_missing=True)], ANOTHER),
    "another-session-out-of-scope": (page_of_another(9, sessions=()), [saved(9)], RECREATED),
    "list-out-of-order": (page_of_another(9, listed=()), [saved(9)], ANOTHER),
    "in-the-known-range-but-not-saved": (page_of_another(4), [], {**ANOTHER, **AGAIN}),
    "rejected-page-in-the-known-range": (page_of_another(4, sessions=()), [], AGAIN),
    "in-the-known-range-but-pruned": (page_of_another(4, sessions=(), date=OLD), [], {}),
    "below-the-known-range-but-younger": (page_of_another(1, date=NEW), [], {**ANOTHER, **AGAIN}),
    "below-the-known-range-and-older": (page_of_another(1, date=OLD), [], ANOTHER),
    "stale-first-page": (
        page(8, 7, proven=(7, 8), is_first=True),
        [saved(7), saved(8)],
        {"present": [7, 8], "absent": [(7, 8)], "is_stale": True},
    ),
    "first-page-of-what-was-pruned": (page(8, date=OLD, sessions=(), is_first=True), [], {"is_stale": True}),
    "first-page-with-the-newest": (
        page(10, proven=(10, 10), is_first=True),
        [saved(10)],
        {"present": [10], "absent": [(10, 10), (11, ALL_NUMBERS[1])]},
    ),
    "another-list": (
        page_of_another(8, proven=(8, 8), is_first=True),
        [],
        {**ANOTHER, "absent": [(8, 8), ABOVE_8], **RECREATED},
    ),
    "empty-list": (page(is_first=True), [], {"absent": [ALL_NUMBERS], **AGAIN}),
}


@pytest.mark.parametrize(("page", "saved", "expected"), CASES.values(), ids=CASES)
def test_changes_of_a_page(page: Page, saved: list[SavedSession], expected: dict[str, Any]) -> None:
    """The newest living session is 10; 2 to 4 are known, and everything below is older."""
    known = KnownRange(main=(2, 4), older_than=datetime(2025, 6, 1, tzinfo=UTC))
    assert judge(*page, saved, known, newest=10, pruned_before=datetime(2025, 2, 1, tzinfo=UTC)) == PageChanges(
        **expected
    )


class TestKnownRange:
    """Read ranges that are added, one after the other, and what is known then."""

    @pytest.mark.parametrize(
        ("reads", "main", "upper"),
        [
            pytest.param([(5, 9)], (5, 9), None, id="first"),
            pytest.param([(5, 9), (1, 5)], (1, 9), None, id="extended-below"),
            pytest.param([(5, 9), (9, 12)], (5, 12), None, id="extended-above"),
            pytest.param([(5, 9), (10, 12)], (5, 9), (10, 12), id="next-to-it-but-not-compared"),
            pytest.param([(5, 9), (20, 30), (15, 30)], (5, 9), (15, 30), id="catch-up"),
            pytest.param([(5, 9), (20, 30), (9, 20)], (5, 30), None, id="joined"),
            pytest.param([(5, 9), (20, 30), (40, 50)], (5, 9), (20, 30), id="third-range"),
            pytest.param([(5, 9), (20, 30), (30, 50)], (5, 9), (20, 50), id="catch-up-extended-above"),
            pytest.param([(5, 9), (20, 30), (1, 50)], (1, 50), None, id="everything"),
        ],
    )
    def test_two_ranges_are_known_at_most(
        self, reads: list[tuple[int, int]], main: tuple[int, int], upper: tuple[int, int] | None
    ) -> None:
        known = NOTHING_KNOWN
        for each in reads:
            known = known.extend(each)
        assert known == KnownRange(main=main, upper=upper)

    @pytest.mark.parametrize(
        ("highest", "main", "upper"),
        [(50, (5, 9), (20, 30)), (25, (5, 9), (20, 25)), (15, (5, 9), None), (7, (5, 7), None), (4, None, None)],
    )
    def test_it_ends_at_the_top_of_a_stale_page(
        self, highest: int, main: tuple[int, int] | None, upper: tuple[int, int] | None
    ) -> None:
        known = KnownRange(main=(5, 9), upper=(20, 30)).up_to(highest)
        assert (known.main, known.upper) == (main, upper)
