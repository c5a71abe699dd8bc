"""What a page proves about the sessions in the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.store.evidence import ALL_NUMBERS, Evidence, KnownSession, Verdict, judge

OTHER, SYNC, NEXT = 1, 2, 3
"""Syncs. The pages are those of the second one."""

CHANGED = ("changed",)


def name(number: int) -> str:
    return f"id{number}"


def known(number: int, **fields: Any) -> KnownSession:
    """Return a session in the database."""
    return KnownSession(id=name(number), relative_id=number, row=(number,), **fields)


def page(*numbers: int, **fields: Any) -> Evidence:
    """Return a page with these sessions, whose values are those in the database."""
    rows: dict[object, Any] = {name(number): (number,) for number in numbers}
    numbers_by_id: dict[object, int] = {name(number): number for number in numbers}
    return Evidence(rows=rows, numbers=numbers_by_id, sync=SYNC, **fields)


def changed_page(number: int, **fields: Any) -> Evidence:
    """Return a page with one session, whose values differ from those in the database."""
    return evolve(page(number, **fields), rows={name(number): CHANGED})


def page_of_another(number: int, **fields: Any) -> Evidence:
    """Return a page with a session that has the number of another session."""
    return Evidence(rows={"another": CHANGED}, numbers={"another": number}, sync=SYNC, **fields)


class TestPresence:
    def test_new_session_is_saved(self) -> None:
        assert judge(page(2, 1), [known(1)]) == Verdict(unknown=["id2"], changed=["id2"])

    def test_changed_session_is_saved(self) -> None:
        assert judge(changed_page(1), [known(1)]) == Verdict(changed=["id1"])

    def test_unchanged_session_is_not_saved(self) -> None:
        verdict = judge(page(2, 1), [known(1), known(2)])
        assert verdict == Verdict()
        assert not verdict.is_change

    @pytest.mark.parametrize("sync", [OTHER, SYNC])
    def test_missing_session_is_restored(self, sync: int) -> None:
        assert judge(page(1), [known(1, missing_by=sync)]) == Verdict(restored=["id1"])
        assert judge(changed_page(1), [known(1, missing_by=sync)]) == Verdict(changed=["id1"], restored=["id1"])


class TestAbsence:
    def test_absent_session_is_missing_at_first(self) -> None:
        verdict = judge(page(3, 1, covers=(1, 3)), [known(1), known(2), known(3)])
        assert verdict == Verdict(missing=["id2"], doubtful=[2])

    def test_another_sync_deletes_it(self) -> None:
        assert judge(page(covers=(1, 3)), [known(2, missing_by=OTHER)]) == Verdict(deleted=["id2"])

    def test_the_same_sync_does_not_delete_it(self) -> None:
        assert judge(page(covers=(1, 3)), [known(2, missing_by=SYNC)]) == Verdict(doubtful=[2])

    def test_deleted_session_stays_deleted(self) -> None:
        assert judge(page(covers=(1, 3)), [known(2, missing_by=OTHER, is_deleted=True)]) == Verdict()

    @pytest.mark.parametrize("covers", [None, (1, 1), (3, 3)])
    def test_page_proves_nothing_outside_its_range(self, covers: tuple[int, int] | None) -> None:
        assert judge(page(3, 1, covers=covers), [known(1), known(2), known(3)]) == Verdict()
        assert judge(page(3, 1, covers=covers), [known(1), known(2, missing_by=OTHER), known(3)]) == Verdict()


class TestNewer:
    """Another sync has saved or marked a session after the page was requested."""

    @pytest.mark.parametrize("state", [{}, {"missing_by": OTHER}, {"missing_by": OTHER, "is_deleted": True}])
    def test_page_proves_nothing_about_it(self, state: dict[str, Any]) -> None:
        session = known(1, is_newer=True, **state)
        for evidence in (
            changed_page(1, covers=(1, 3)),
            page(covers=(1, 3)),
            evolve(page_of_another(1, covers=(1, 3)), rows={}),
            page(top=0, newest=0),
        ):
            assert judge(evidence, [session]) == Verdict()


class TestContradiction:
    def test_reappeared_session_drops_the_coverage(self) -> None:
        session = known(1, missing_by=OTHER, is_deleted=True)
        dropped = Verdict(restored=["id1"], is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(page(1), [session]) == dropped
        assert judge(page(1, is_repair=True), [session]) == Verdict(restored=["id1"])

    def test_another_session_with_the_same_number_drops_the_coverage(self) -> None:
        saved = Verdict(unknown=["another"], changed=["another"], missing=["id2"], doubtful=[2])
        evidence = page_of_another(2, covers=(1, 3))
        assert judge(evidence, [known(2)]) == evolve(saved, is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(evolve(evidence, is_repair=True), [known(2)]) == saved

    def test_number_of_a_missing_session_can_be_used_again(self) -> None:
        verdict = judge(page_of_another(2, covers=(1, 3)), [known(2, missing_by=OTHER)])
        assert verdict == Verdict(unknown=["another"], changed=["another"], deleted=["id2"])

    def test_number_outside_the_range_proves_nothing(self) -> None:
        assert judge(page_of_another(2), [known(2)]) == Verdict(unknown=["another"], changed=["another"])


class TestFirstPage:
    def test_outdated_page_proves_nothing_above_its_top(self) -> None:
        evidence = page(8, 7, covers=(7, 8), top=8, has_known=True, newest=10)
        sessions = [known(7), known(8), known(9, missing_by=OTHER), known(10)]
        assert evidence.is_outdated
        assert judge(evidence, sessions) == Verdict(dropped=(9, ALL_NUMBERS[1]))

    def test_session_above_the_top_is_deleted_the_second_time(self) -> None:
        evidence = page(8, covers=(8, 8), top=8, has_known=True, newest=8)
        assert not evidence.is_outdated
        assert judge(evidence, [known(8), known(9, missing_by=OTHER)]) == Verdict(deleted=["id9"])
        assert judge(evidence, [known(8), known(9, missing_by=SYNC)]) == Verdict(doubtful=[9])

    def test_only_sessions_above_the_top_are_judged_without_a_range(self) -> None:
        evidence = page_of_another(8, top=8, has_known=True, newest=8)
        verdict = judge(evidence, [known(7, missing_by=OTHER), known(8, missing_by=OTHER)])
        assert verdict == Verdict(unknown=["another"], changed=["another"])

    def test_page_of_a_recreated_suite_makes_all_others_missing(self) -> None:
        evidence = page_of_another(2, covers=(1, 2), top=2, newest=4)
        sessions = [known(1), known(2, missing_by=OTHER), known(3, missing_by=OTHER), known(4)]
        marked = Verdict(
            unknown=["another"],
            changed=["another"],
            missing=["id1", "id4"],
            doubtful=[1, 4],
            deleted=["id2", "id3"],
        )
        assert evidence.is_recreated
        assert judge(evidence, sessions) == evolve(marked, is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(evolve(evidence, is_repair=True), sessions) == marked

    @pytest.mark.parametrize(
        ("fields", "is_outdated", "is_recreated"),
        [
            ({"top": None, "newest": 6}, False, False),
            ({"top": 5, "newest": 0}, False, False),
            ({"top": 5, "newest": 4}, False, False),
            ({"top": 5, "newest": 5}, False, True),
            ({"top": 5, "newest": 6}, False, True),
            ({"top": 5, "newest": 5, "has_known": True}, False, False),
            ({"top": 5, "newest": 6, "has_known": True}, True, False),
            ({"top": 0, "newest": 0}, False, False),
            ({"top": 0, "newest": 1}, False, True),
        ],
        ids=[
            "other-page",
            "nothing-known",
            "new-sessions-only",
            "same-number",
            "lower-numbers",
            "up-to-date",
            "outdated",
            "empty-and-nothing-known",
            "empty",
        ],
    )
    def test_kind_of_page(self, fields: dict[str, Any], is_outdated: bool, is_recreated: bool) -> None:
        evidence = page(**fields)
        assert (evidence.is_outdated, evidence.is_recreated) == (is_outdated, is_recreated)

    def test_empty_page_makes_all_sessions_missing(self) -> None:
        evidence = page(top=0, newest=2)
        first = Verdict(missing=["id1", "id2"], doubtful=[1, 2], is_contradiction=True, dropped=ALL_NUMBERS)
        assert judge(evidence, [known(1), known(2)]) == first
        second = [known(1, missing_by=OTHER), known(2, missing_by=OTHER)]
        assert judge(page(top=0), second) == Verdict(deleted=["id1", "id2"])

    def test_empty_page_of_an_unknown_suite_proves_nothing(self) -> None:
        assert judge(page(top=0), []) == Verdict()


@st.composite
def sessions_in_database(draw: st.DrawFn) -> list[KnownSession]:
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
def pages(draw: st.DrawFn, sessions: list[KnownSession]) -> Evidence:
    """Return any page: the server may respond with anything."""
    rows: dict[object, Any] = {}
    numbers: dict[object, int] = {}
    for number in draw(st.sets(st.integers(1, 9))):
        id_ = draw(st.sampled_from([name(number), name(number), f"another{number}"]))
        rows[id_] = draw(st.sampled_from([(number,), CHANGED]))
        numbers[id_] = number
    covers = draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda pair: (min(pair), max(pair))))
    evidence = Evidence(rows=rows, numbers=numbers, covers=covers, sync=SYNC, is_repair=draw(st.booleans()))
    return as_first_page(evidence, sessions) if draw(st.booleans()) else evidence


def as_first_page(evidence: Evidence, sessions: Iterable[KnownSession]) -> Evidence:
    living = [each.relative_id for each in sessions if each.missing_by is None and not each.is_newer]
    top = max(evidence.numbers.values(), default=0)
    if evidence.covers is not None and top:  # a sync claims nothing above its first page
        low, high = evidence.covers
        evidence = evolve(evidence, covers=(low, min(high, top)) if low <= top else None)
    return evolve(
        evidence,
        top=top,
        has_known=any(each.id in evidence.numbers for each in sessions),
        newest=max(living, default=0),
    )


def apply(verdict: Verdict, evidence: Evidence, sessions: Iterable[KnownSession]) -> list[KnownSession]:
    """Return the sessions in the database after a verdict."""
    result = {each.id: each for each in sessions}
    for id_ in verdict.changed:
        result[id_] = KnownSession(id=id_, relative_id=evidence.numbers[id_], row=evidence.rows[id_])
    for id_ in verdict.restored:
        result[id_] = result[id_]._replace(missing_by=None, is_deleted=False)
    for id_ in verdict.missing:
        result[id_] = result[id_]._replace(missing_by=evidence.sync)
    for id_ in verdict.deleted:
        result[id_] = result[id_]._replace(is_deleted=True)
    return list(result.values())


@pytest.mark.parametrize("field", ["changed", "restored", "missing", "deleted"])
def test_each_kind_of_verdict_is_a_change(field: str) -> None:
    verdict = Verdict()
    setattr(verdict, field, ["id1"])
    assert verdict.is_change


class TestAnyPage:
    @given(st.data())
    def test_absence_is_believed_the_second_time(self, data: st.DataObject) -> None:
        sessions = data.draw(sessions_in_database())
        evidence = data.draw(pages(sessions))
        verdict = judge(evidence, sessions)
        by_id = {each.id: each for each in sessions}
        low, high = evidence.covers or (1, 0)
        assert all(by_id[id_].missing_by is None for id_ in verdict.missing)
        assert all(by_id[id_].missing_by == OTHER for id_ in verdict.deleted)
        for id_ in (*verdict.missing, *verdict.deleted):
            number = by_id[id_].relative_id
            assert id_ not in evidence.rows
            assert not by_id[id_].is_newer
            assert not by_id[id_].is_deleted
            assert low <= number <= high or (evidence.top is not None and number > evidence.top)
        assert {by_id[id_].relative_id for id_ in verdict.missing} <= set(verdict.doubtful)

    @given(st.data())
    def test_presence_is_believed_at_once(self, data: st.DataObject) -> None:
        sessions = data.draw(sessions_in_database())
        evidence = data.draw(pages(sessions))
        verdict = judge(evidence, sessions)
        after = {each.id: each for each in apply(verdict, evidence, sessions)}
        older = [id_ for id_ in evidence.rows if not after[id_].is_newer]
        assert all(after[id_].row == evidence.rows[id_] for id_ in older)
        assert all(after[id_].missing_by is None and not after[id_].is_deleted for id_ in older)
        assert set(verdict.unknown) == set(evidence.rows) - {each.id for each in sessions}
        assert set(verdict.unknown) <= set(verdict.changed) <= set(older)
        assert set(verdict.restored) <= set(older)

    @given(st.data())
    def test_same_page_again_changes_nothing(self, data: st.DataObject) -> None:
        """Neither in the same sync, nor after the next one, which may mark sessions as deleted."""
        sessions = data.draw(sessions_in_database())
        evidence = data.draw(pages(sessions))
        for sync in (SYNC, NEXT):
            evidence = evolve(evidence, sync=sync)
            for is_again in (False, True):
                if evidence.top is not None:
                    evidence = as_first_page(evidence, sessions)
                verdict = judge(evidence, sessions)
                assert not (is_again and verdict.is_change)
                sessions = apply(verdict, evidence, sessions)
        low, high = evidence.covers or (1, 0)
        absent = [each for each in sessions if low <= each.relative_id <= high and each.id not in evidence.rows]
        assert all(each.is_deleted or each.is_newer for each in absent)

    @given(st.data())
    def test_coverage_is_dropped_once(self, data: st.DataObject) -> None:
        sessions = data.draw(sessions_in_database())
        evidence = data.draw(pages(sessions))
        verdict = judge(evidence, sessions)
        assert verdict.is_contradiction == (verdict.dropped == ALL_NUMBERS)
        assert not (evidence.is_repair and verdict.is_contradiction)
        assert not (evidence.is_outdated and evidence.is_recreated)
