"""What a page proves about the sessions in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from attrs import evolve, frozen
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


def known(number: int, **fields: Any) -> SavedSession:
    """Return a session in the database."""
    return SavedSession(id=name(number), relative_id=number, row=(number,), **fields)


@frozen
class Page:
    """A page, and the values of its sessions."""

    read: PageToSave
    rows: dict[StoredId, Any]


def new_page(sessions: dict[str, int], rows: dict[StoredId, Any], **fields: Any) -> Page:
    """Return a page with sessions, given by their ids and numbers."""
    listed = [Session(id=id_, relative_id=number, status=SessionStatus.SUCCESSFUL) for id_, number in sessions.items()]
    return Page(PageToSave(sessions=listed, listed=listed, commit=0, sync=SYNC, **fields), rows)


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


def judge(page: Page, saved: Collection[SavedSession], sync: int = SYNC, *, others: Intervals = ()) -> PageChanges:
    return evidence.judge(page.read, page.rows, saved, sync, others=others)


class TestPresence:
    def test_new_session_is_saved(self) -> None:
        assert judge(page(2, 1), [known(1)]) == PageChanges(new=["id2"], changed=["id2"])

    def test_changed_session_is_saved(self) -> None:
        assert judge(changed_page(1), [known(1)]) == PageChanges(changed=["id1"])

    def test_unchanged_session_is_not_saved(self) -> None:
        changes = judge(page(2, 1), [known(1), known(2)])
        assert changes == PageChanges()
        assert not changes.is_change

    @pytest.mark.parametrize("sync", [OTHER, SYNC])
    def test_missing_session_is_restored(self, sync: int) -> None:
        assert judge(page(1), [known(1, missing_by=sync)]) == PageChanges(restored=["id1"])
        assert judge(changed_page(1), [known(1, missing_by=sync)]) == PageChanges(changed=["id1"], restored=["id1"])


class TestAbsence:
    def test_absent_session_is_missing_at_first(self) -> None:
        changes = judge(page(3, 1, proven=(1, 3)), [known(1), known(2), known(3)])
        assert changes == PageChanges(missing=["id2"], to_read_again=[2])

    def test_another_sync_deletes_it(self) -> None:
        assert judge(page(proven=(1, 3)), [known(2, missing_by=OTHER)]) == PageChanges(deleted=["id2"])

    def test_the_same_sync_does_not_delete_it(self) -> None:
        assert judge(page(proven=(1, 3)), [known(2, missing_by=SYNC)]) == PageChanges(to_read_again=[2])

    def test_deleted_session_stays_deleted(self) -> None:
        assert judge(page(proven=(1, 3)), [known(2, missing_by=OTHER, is_deleted=True)]) == PageChanges()

    @pytest.mark.parametrize("proven", [None, (1, 1), (3, 3)])
    def test_page_proves_nothing_outside_its_range(self, proven: tuple[int, int] | None) -> None:
        assert judge(page(3, 1, proven=proven), [known(1), known(2), known(3)]) == PageChanges()
        assert judge(page(3, 1, proven=proven), [known(1), known(2, missing_by=OTHER), known(3)]) == PageChanges()


class TestNewer:
    """Another sync has saved or marked a session after the page was requested."""

    @pytest.mark.parametrize("state", [{}, {"missing_by": OTHER}, {"missing_by": OTHER, "is_deleted": True}])
    def test_page_proves_nothing_about_it(self, state: dict[str, Any]) -> None:
        session = known(1, is_newer=True, **state)
        for each in (changed_page(1, proven=(1, 3)), page(proven=(1, 3)), page(is_first=True)):
            assert judge(each, [session]) == PageChanges()
        assert not judge(page_of_another(1, proven=(1, 3)), [session]).is_contradiction


class TestContradiction:
    def test_reappeared_session_drops_the_coverage(self) -> None:
        session = known(1, missing_by=OTHER, is_deleted=True)
        dropped = PageChanges(restored=["id1"], is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(page(1), [session]) == dropped
        assert judge(page(1, is_repair=True), [session]) == PageChanges(restored=["id1"])

    def test_another_session_with_the_same_number_drops_the_coverage(self) -> None:
        saved = PageChanges(new=["another"], changed=["another"], missing=["id2"], to_read_again=[2])
        dropped = evolve(saved, is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(page_of_another(2, proven=(1, 3)), [known(2)]) == dropped
        assert judge(page_of_another(2, proven=(1, 3), is_repair=True), [known(2)]) == saved

    def test_number_of_a_missing_session_can_be_used_again(self) -> None:
        changes = judge(page_of_another(2, proven=(1, 3)), [known(2, missing_by=OTHER)])
        assert changes == PageChanges(new=["another"], changed=["another"], deleted=["id2"])

    def test_another_session_out_of_scope_drops_the_coverage(self) -> None:
        """It is not saved, and not in the proven range, but shows that this is another list."""
        listed = page_of_another(2).read.listed
        out_of_scope = Page(PageToSave(sessions=[], listed=listed, commit=0), {})
        assert judge(out_of_scope, [known(2)]) == PageChanges(is_contradiction=True, dropped=ALL_NUMBERS)

    def test_list_out_of_order_proves_nothing(self) -> None:
        """One number may have two ids there."""
        unordered = page_of_another(2)
        unordered = evolve(unordered, read=evolve(unordered.read, listed=()))
        assert judge(unordered, [known(2)]) == PageChanges(new=["another"], changed=["another"])


class TestClaims:
    """A claim becomes one range with the coverage below only if a session of the page is known there."""

    @pytest.mark.parametrize(
        ("covered", "sessions", "expected"),
        [
            ((), [known(3)], False),
            (((1, 2),), [known(3)], False),
            (((1, 3),), [known(3)], True),
            (((1, 5),), [known(5)], False),
            (((1, 5),), [known(3)], True),
            (((1, 3), (6, 9)), [known(6)], True),
        ],
        ids=[
            "nothing-covered",
            "gap-below",
            "known-session-is-not-listed",
            "known-session",
            "another-known-session",
            "known-in-another-range",
        ],
    )
    def test_claim_that_touches_coverage_without_overlap(
        self, covered: tuple[tuple[int, int], ...], sessions: list[SavedSession], expected: bool
    ) -> None:
        assert judge(page(6, 5, 4, claimed=(4, 6)), sessions, others=covered).is_held is expected

    def test_page_that_claims_nothing(self) -> None:
        assert not judge(page(6), [], others=((1, 9),)).is_held


class TestFirstPage:
    def test_stale_page_proves_nothing_above_its_top(self) -> None:
        sessions = [known(7), known(8), known(9, missing_by=OTHER), known(10)]
        changes = judge(page(8, 7, proven=(7, 8), is_first=True), sessions)
        assert changes == PageChanges(dropped=(9, ALL_NUMBERS[1]), is_stale=True)

    def test_session_above_the_top_is_deleted_the_second_time(self) -> None:
        first = page(8, proven=(8, 8), is_first=True)
        assert judge(first, [known(8), known(9, missing_by=OTHER)]) == PageChanges(deleted=["id9"])
        assert judge(first, [known(8), known(9, missing_by=SYNC)]) == PageChanges(to_read_again=[9])

    def test_only_sessions_above_the_top_are_judged_without_a_range(self) -> None:
        sessions = [known(7, missing_by=OTHER), known(8, missing_by=OTHER), known(6)]
        changes = judge(new_page({"another": 8, "id6": 6}, {}, is_first=True), sessions)
        assert changes == PageChanges()

    def test_page_of_a_recreated_suite_makes_all_others_missing(self) -> None:
        sessions = [known(1), known(2, missing_by=OTHER), known(3, missing_by=OTHER), known(4)]
        marked = PageChanges(
            new=["another"],
            changed=["another"],
            missing=["id1", "id4"],
            to_read_again=[1, 4],
            deleted=["id2", "id3"],
        )
        dropped = evolve(marked, is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(page_of_another(2, proven=(1, 2), is_first=True), sessions) == dropped
        assert judge(page_of_another(2, proven=(1, 2), is_first=True, is_repair=True), sessions) == marked

    @pytest.mark.parametrize(
        ("listed", "known_numbers", "is_first", "is_stale", "is_contradiction"),
        [
            ({"new": 5}, [6], False, False, False),
            ({"new": 5}, [], True, False, False),
            ({"new": 5}, [4], True, False, False),
            ({"new": 5}, [5], True, False, True),
            ({"new": 5}, [6], True, False, True),
            ({"id5": 5}, [5], True, False, False),
            ({"id5": 5}, [5, 6], True, True, False),
            ({}, [], True, False, False),
            ({}, [1], True, False, True),
        ],
        ids=[
            "other-page",
            "nothing-known",
            "new-sessions-only",
            "same-number",
            "lower-numbers",
            "up-to-date",
            "stale",
            "empty-and-nothing-known",
            "empty",
        ],
    )
    def test_kind_of_page(
        self, listed: dict[str, int], known_numbers: list[int], is_first: bool, is_stale: bool, is_contradiction: bool
    ) -> None:
        changes = judge(new_page(listed, {}, is_first=is_first), [known(number) for number in known_numbers])
        assert (changes.is_stale, changes.is_contradiction) == (is_stale, is_contradiction)

    def test_empty_page_makes_all_sessions_missing(self) -> None:
        first = PageChanges(missing=["id1", "id2"], to_read_again=[1, 2], is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(page(is_first=True), [known(1), known(2)]) == first
        second = [known(1, missing_by=OTHER), known(2, missing_by=OTHER)]
        assert judge(page(is_first=True), second) == PageChanges(deleted=["id1", "id2"])

    def test_empty_page_of_an_unknown_suite_proves_nothing(self) -> None:
        assert judge(page(is_first=True), []) == PageChanges()


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
    return [known(number, **draw(states)) for number in draw(st.sets(st.integers(1, 9)))]


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


@pytest.mark.parametrize("field", ["changed", "restored", "missing", "deleted"])
def test_each_kind_of_verdict_is_a_change(field: str) -> None:
    changes = PageChanges()
    setattr(changes, field, ["id1"])
    assert changes.is_change


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
