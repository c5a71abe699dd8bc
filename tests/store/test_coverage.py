"""The coverage of a suite, compared with sets of numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.store.coverage import Coverage, change_coverage, confirm
from buddy_sessions.store.evidence import PageChanges
from buddy_sessions.store.intervals import Interval, Intervals, contains, union_all
from buddy_sessions.store.messages import PageToSave

SYNC, OTHER = 2, 1

LIMIT = 40

single_intervals = st.tuples(st.integers(1, 20), st.integers(0, 15)).map(lambda pair: (pair[0], sum(pair)))
interval_sets = st.lists(single_intervals, max_size=4).map(lambda intervals: union_all([(each,) for each in intervals]))
coverages = st.dictionaries(st.sampled_from([None, OTHER, SYNC]), interval_sets.filter(bool))
page_changes = st.builds(
    PageChanges, dropped=st.none() | single_intervals, to_read_again=st.lists(st.integers(1, LIMIT), max_size=3)
)


def change(before: Coverage, changes: PageChanges, claimed: Interval | None, *, is_overruled: bool = False) -> Coverage:
    page = PageToSave(sessions=(), commit=0, claimed=claimed)
    return change_coverage(before, page, changes, SYNC, is_overruled=is_overruled)


def numbers(intervals: Intervals) -> set[int]:
    return {number for number in range(LIMIT) if contains(intervals, number)}


def all_numbers(coverage: Coverage) -> set[int]:
    return numbers(union_all(coverage.values()))


class TestChange:
    def test_range_that_is_covered_already_adds_nothing(self) -> None:
        """By one sync or by several: the claim would be lost if the read of this sync proved to be unverified."""
        before: Coverage = {None: ((2, 5),), OTHER: ((6, 10),)}
        for claimed in ((3, 8), (2, 10)):
            assert change(before, PageChanges(), claimed) == before
        assert change(before, PageChanges(), (3, 12)) == {**before, SYNC: ((3, 12),)}

    @pytest.mark.parametrize("fields", [{"changes": PageChanges(is_held=True)}, {"is_overruled": True}])
    def test_range_that_may_not_be_claimed_adds_nothing(self, fields: dict[str, Any]) -> None:
        before: Coverage = {SYNC: ((1, 5),)}
        assert change(before, **{"changes": PageChanges(), "claimed": (6, 9), **fields}) == before

    @given(before=coverages, changes=page_changes, covers=st.none() | single_intervals)
    def test_change_is_that_of_sets(self, before: Coverage, changes: PageChanges, covers: Interval | None) -> None:
        after = change(before, changes, covers)
        claimed, dropped = (numbers((each,) if each else ()) for each in (covers, changes.dropped))
        assert all_numbers(after) == ((all_numbers(before) - dropped) | claimed) - set(changes.to_read_again)
        for owner in (None, OTHER):
            remaining = numbers(before.get(owner, ())) - dropped - set(changes.to_read_again)
            assert numbers(after.get(owner, ())) == remaining
        assert all(after.values())


class TestConfirm:
    @given(coverages)
    def test_confirmed_coverage_is_the_same_set(self, before: Coverage) -> None:
        after = confirm(before, SYNC)
        assert all_numbers(after) == all_numbers(before)
        assert numbers(after.get(None, ())) == numbers(before.get(None, ())) | numbers(before.get(SYNC, ()))
        assert SYNC not in after
        assert all(after.values())
