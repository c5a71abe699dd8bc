"""What a sync reads next, what a page changes, what the database claims then, and which sessions are missing."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import asdict, evolve

from buddy_sessions import Session, SessionStatus
from buddy_sessions._paging.paginator import SessionPage
from buddy_sessions.store.schema import FIELDS
from buddy_sessions.store.suites import ALL_NUMBERS, BelowCovered, Interval, SuiteState
from buddy_sessions.store.sync_rules import (
    ListEvidence,
    Part,
    SavedSession,
    SessionToCheck,
    SyncProgress,
    end_part,
    find_effects,
    is_check_due,
    marks_of_absent,
    next_part,
    read_range_after,
    state_after,
)
from helpers.stores import KEY

OLD, NEW, NOW = (datetime(year, 1, 1, tzinfo=UTC) for year in (2025, 2026, 2027))


def saved(number: int, missing_since: str | None = None, deleted_at: str | None = None) -> SavedSession:
    """Return a session in the database."""
    marks = {"number": number, "missing_since": missing_since, "deleted_at": deleted_at}
    return dict.fromkeys(FIELDS) | {"id": f"id{number}", "relative_id": number, **marks}


def session(number: int, *, id_: str | None = None, date: datetime | None = NOW) -> Session:
    return Session(id=id_ or f"id{number}", relative_id=number, status=SessionStatus.SUCCESSFUL, create_date=date)


CLAIMED = SuiteState(covered=(2, 4), limit=NEW, below="limit")


def page(*numbers: int, id_: str | None = None, date: datetime | None = NOW, **fields: Any) -> ListEvidence:
    """Return a page with these sessions. By default, their ids are those in the database."""
    listed = [session(number, id_=id_, date=date) for number in numbers]
    given: dict[str, Any] = {"sessions": listed, "listed": listed, "limit": NEW, **fields}
    return ListEvidence(claimed=CLAIMED, **given)


def page_of_another(number: int, **fields: Any) -> ListEvidence:
    """Return a page with a session that has the number of another session."""
    return page(number, id_="another", **fields)


MISSING, DELETED = saved(1, "2026"), saved(1, "2026", "2026")
ANOTHER: dict[str, Any] = {"sessions": ["another"]}
REPAIRED: dict[str, Any] = {**ANOTHER, "repaired": 1}
FOUND: dict[str, Any] = {"restored": [1], "present": [1], "repaired": 1}
AGAIN: dict[str, Any] = {"is_contradiction": True, "state": evolve(CLAIMED, covered=None, below="more")}

CASES: dict[str, tuple[ListEvidence, list[SavedSession], dict[str, Any]]] = {
    "found-again": (page(1, sessions=()), [MISSING], FOUND),
    "deleted-one-reappears": (page(1, sessions=()), [DELETED], {**FOUND, **AGAIN}),
    "what-was-read": (page(1, sessions=(), read_range=(7, 9)), [DELETED], {**FOUND, **AGAIN, "covered": (7, 9)}),
    "all-was-read": (page(1, sessions=(), read_range=(1, 9)), [DELETED], {**FOUND, **AGAIN, "covered": (1, 9)}),
    "what-was-read-since-the-first-contradiction": (
        page(1, sessions=(), read_range=(2, 4), is_contradicted=True),
        [DELETED],
        {**FOUND, "is_contradiction": True},
    ),
    "another-session-with-its-number": (page_of_another(9), [saved(9)], {**ANOTHER, **AGAIN}),
    "number-of-a-missing-one": (page_of_another(1, date=None), [MISSING], ANOTHER),
    "another-session-that-was-read-before": (page_of_another(9, sessions=()), [saved(9)], AGAIN),
    "list-out-of-order": (page_of_another(9, listed=()), [saved(9)], ANOTHER),
    "older-than-the-limit": (page(5, date=OLD), [], {}),
    "older-but-saved": (page(5, date=OLD), [saved(5)], {"sessions": ["id5"], "changed": {"id5"}, "present": [5]}),
    "above-the-covered-range": (page_of_another(5), [], ANOTHER),
    "in-the-covered-range-but-not-saved": (page_of_another(4), [], {**REPAIRED, **AGAIN}),
    "rejected-page-in-the-covered-range": (page_of_another(4, sessions=()), [], AGAIN),
    "in-the-covered-range-but-older": (page_of_another(4, sessions=(), date=OLD), [], {}),
    "below-the-covered-range-but-younger": (page_of_another(1), [], {**REPAIRED, **AGAIN}),
    "below-the-covered-range-without-a-date": (page_of_another(1, date=None), [], ANOTHER),
    "empty-list": (page(), [], {}),
}


@pytest.mark.parametrize(("page", "saved", "expected"), CASES.values(), ids=CASES)
def test_effects_of_a_page(page: ListEvidence, saved: list[SavedSession], expected: dict[str, Any]) -> None:
    """2 to 4 are covered, and everything below is older than the limit. After a contradiction, only what was read."""
    found = find_effects(page, {each.id: ("other values",) for each in page.sessions}, saved)
    ids, absent = [each.id for each in found.sessions], [*found.absent]
    defaults = {"state": CLAIMED, "sessions": [], "changed": set(), "present": [], "restored": [], "repaired": 0}
    defaults |= {"is_contradiction": False, "absent": []}
    if covered := expected.pop("covered", None):
        expected["state"] = evolve(CLAIMED, covered=covered, below="nothing" if covered[0] == 1 else "more")
    assert {**asdict(found, recurse=False), "sessions": ids, "absent": absent} == {**defaults, **expected}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (page(), True),
        (page(4, sessions=()), True),
        (page(4), False),
        (page(4, 3, sessions=()), False),
        (page(4, sessions=(), proven=(4, 4)), False),
        (page(checked=4), False),
    ],
    ids=["empty", "listed-again", "to-save", "another", "proven", "requested"],
)
def test_page_that_repeats_the_one_before(page: ListEvidence, expected: bool) -> None:
    assert page.repeats({"id4", "id5"}) is expected


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


def progress(
    start: SuiteState, *, due: dict[int, str] | None = None, missing: tuple[int, ...] = (), **fields: Any
) -> Any:
    given = {"state": start, "due": due or {}, "missing": array("q", missing), **fields}
    return SyncProgress(start=start, **given)


ALL, CUT = SuiteState(covered=(1, 5), below="nothing"), SuiteState(covered=(3, 5), below="end")
AROUND_4 = Part(low=4, high=4, is_around=True)
AROUND_6 = Part(low=6, high=6, is_around=True)
NEWEST = SessionToCheck(9, "id9")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (progress(SuiteState()), Part()),
        (progress(ALL), Part(low=5)),
        (progress(ALL, top=5), None),
        (progress(ALL, top=5, missing=(2, 4), due={1: "id1"}), AROUND_4),
        (progress(ALL, top=5, due={1: "id1"}), SessionToCheck(1, "id1")),
        (progress(ALL, top=5, due={1: "id1"}, stop="unchanged"), None),
        (progress(ALL, top=5, due={1: "id1"}, stop="unverified"), None),
        (progress(ALL, top=5, newest_missing=NEWEST), NEWEST),
        pytest.param(progress(ALL, top=9, newest_missing=NEWEST), None, id="the-newest-missing-one-is-not-above"),
        (progress(CUT, top=5, missing=(4,)), Part(high=3)),
        pytest.param(progress(CUT, top=5, is_end_read=True), None, id="the-end-was-read-in-this-sync"),
        (progress(evolve(CUT, below="more"), top=5, is_end_read=True), Part(high=3)),
        (progress(evolve(CUT, below="limit"), top=5), None),
        (progress(SuiteState(below="limit"), top=5), None),
    ],
)
def test_next_part(given: SyncProgress, expected: Part | SessionToCheck | None) -> None:
    assert next_part(given) == expected


def test_full_sync_begins_with_the_whole_list() -> None:
    assert next_part(progress(ALL), full=True) == Part()


Read = tuple[Interval | None, BelowCovered]
"""The covered range, and what is below."""


@pytest.mark.parametrize(
    ("start", "part", "numbers", "options", "expected"),
    [
        pytest.param(SuiteState(), Part(), (9, 4), {}, ((4, 9), "more"), id="first-page"),
        pytest.param(SuiteState(), Part(), (9, 4), {"is_last": True}, ((4, 9), "end"), id="end-above-1"),
        pytest.param(SuiteState(), Part(), (9, 1), {"is_last": True}, ((1, 9), "nothing"), id="end-at-1"),
        pytest.param(SuiteState(), Part(), (9, 4), {"date": OLD}, (None, "limit"), id="all-is-older"),
        pytest.param(SuiteState(), Part(), (), {"is_last": True}, (None, "more"), id="empty-list"),
        pytest.param(ALL, Part(low=5), (9, 7), {}, ((1, 5), "nothing"), id="the-range-is-not-reached-yet"),
        pytest.param(ALL, Part(low=5), (9, 5), {"is_last": True}, ((1, 9), "nothing"), id="the-range-is-reached"),
        pytest.param(ALL, Part(low=5), (4, 3), {"is_last": True}, ((1, 5), "nothing"), id="the-newest-is-not-listed"),
        pytest.param(ALL, Part(low=5), (9, 7), {"is_last": True}, ((7, 9), "end"), id="the-list-ends-above-the-range"),
        pytest.param(ALL, Part(low=5), (), {"is_last": True}, ((1, 5), "nothing"), id="empty-list-keeps-the-range"),
        pytest.param(ALL, Part(low=5), (9, 7), {"date": OLD}, (None, "limit"), id="all-new-ones-are-older"),
        pytest.param(ALL, Part(), (5, 3), {"is_last": True}, ((3, 5), "end"), id="full-read-finds-another-end"),
        pytest.param(CUT, Part(), (5, 3), {"is_last": True}, ((3, 5), "nothing"), id="full-read-finds-the-end-again"),
        pytest.param(CUT, Part(high=3), (), {"is_last": True}, ((3, 5), "nothing"), id="below-is-nothing-again"),
        pytest.param(CUT, Part(high=3), (3, 2), {"is_last": True}, ((2, 5), "end"), id="below-is-more"),
        pytest.param(CUT, Part(high=3), (3, 2), {"date": OLD}, ((3, 5), "limit"), id="below-is-older"),
        pytest.param(ALL, AROUND_4, (3,), {"is_last": True}, ((1, 5), "nothing"), id="around"),
        pytest.param(ALL, AROUND_4, (), {"is_last": True}, ((5, 5), "end"), id="end-above-it"),
        pytest.param(ALL, AROUND_6, (), {"is_last": True}, ((1, 5), "nothing"), id="end-above-the-range"),
    ],
)
def test_covered_range_after_a_page(
    start: SuiteState, part: Part, numbers: tuple[int, ...], options: dict[str, Any], expected: Read
) -> None:
    sessions = tuple(session(number, date=options.get("date", NOW)) for number in numbers)
    page = SessionPage(suite=KEY, number=1, sessions=sessions, is_last=options.get("is_last", False))
    part = evolve(part)  # the cases share it
    part.take(page, NEW)
    found = state_after(progress(start), part)
    assert (found.covered, found.below) == expected


TOP = ALL_NUMBERS[1]
AROUND_1 = Part(low=1, high=1, is_around=True)


@pytest.mark.parametrize(
    ("part", "numbers", "verified", "proven", "is_end"),
    [
        pytest.param(Part(), (9, 4), (1, 9), (4, TOP), True, id="above-the-top-but-not-below-the-lowest"),
        pytest.param(Part(), (9, 4), None, None, True, id="out-of-order"),
        pytest.param(Part(), (), (1, TOP), None, False, id="empty-list"),
        (Part(low=5), (9, 7), (1, 9), (7, TOP), True),
        (Part(low=5), (9, 5), (1, 9), (5, TOP), False),
        (Part(low=5), (9, 3), (1, 9), (3, TOP), False),
        (Part(high=9), (9, 4), (1, 9), (4, 9), True),
        (Part(high=5), (), (1, 5), None, True),
        (AROUND_4, (4,), (4, 4), (4, 4), False),
        (AROUND_4, (3,), (3, 4), (3, 4), False),
        pytest.param(AROUND_4, (), (1, 4), None, True, id="the-list-ends-above-it"),
        (AROUND_1, (1,), (1, 1), (1, 1), False),
        (AROUND_1, (), (1, 1), None, True),
    ],
)
def test_range_that_a_page_proves_and_end_of_the_list(
    part: Part, numbers: tuple[int, ...], verified: Interval | None, proven: Interval | None, is_end: bool
) -> None:
    """A read has found the end if it has asked below its last session."""
    part, sessions = evolve(part), tuple(map(session, numbers))
    page = SessionPage(suite=KEY, number=1, sessions=sessions, proven_range=verified, is_last=True)
    assert part.take(page, None) == proven
    assert part.is_end is is_end


@pytest.mark.parametrize(
    ("read", "part", "expected"),
    [
        (None, Part(), (4, 6)),
        ((8, 9), Part(high=8), (4, 9)),
        pytest.param((9, 9), Part(high=7), (9, 9), id="not-from-the-top"),
    ],
)
def test_what_a_sync_has_read_from_the_top(read: Interval | None, part: Part, expected: Interval) -> None:
    part.take(SessionPage(suite=KEY, number=1, sessions=(session(6), session(4))), NEW)
    assert read_range_after(progress(SuiteState(), read_range=read), part) == expected


@pytest.mark.parametrize(
    ("part", "numbers", "left"),
    [
        pytest.param(Part(low=8), (9, 7), [2, 4, 6], id="top"),
        pytest.param(Part(high=5), (4, 3), [2, 6, 8], id="below"),
        pytest.param(AROUND_4, (3,), [2, 6, 8], id="around"),
        pytest.param(AROUND_4, (), [2, 6, 8], id="the-list-ends-above-it"),
    ],
)
def test_missing_sessions_that_are_still_to_be_looked_for(
    part: Part, numbers: tuple[int, ...], left: list[int]
) -> None:
    found = progress(SuiteState(covered=(1, 9), below="nothing"), missing=(2, 4, 6, 8))
    part = evolve(part)
    part.take(SessionPage(suite=KEY, number=1, sessions=tuple(map(session, numbers))), None)
    end_part(found, part)
    assert [*found.missing] == left


@pytest.mark.parametrize(
    ("given", "now", "expected"),
    [
        (saved(4), "02", ("02", None)),
        pytest.param(saved(4, "02"), "02", ("02", None), id="each-sync-counts-once"),
        (saved(4, "02"), "03", ("02", "02")),
        (saved(4, "02", "02"), "04", ("02", "02")),
        pytest.param(saved(4, "09"), "05", ("05", "05"), id="the-clock-was-ahead"),
        pytest.param(saved(9, "02"), "03", ("02", None), id="above-the-top-of-an-outdated-page"),
    ],
)
def test_marks_of_an_absent_session(given: SavedSession, now: str, expected: tuple[str, str | None]) -> None:
    assert marks_of_absent(given, progress(ALL, top=5, is_outdated=True), now) == expected
    after_contradiction = marks_of_absent(given, progress(ALL, top=5, is_contradiction=True), now)
    assert after_contradiction.deleted_at == given["deleted_at"]
