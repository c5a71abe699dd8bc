"""Intervals, compared with sets of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.store.intervals import Interval, Intervals, contains, gaps, subtract, union

single_intervals = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair)))
added_intervals = st.lists(single_intervals)


def union_of(added: Iterable[Interval]) -> Intervals:
    intervals: Intervals = ()
    for interval in added:
        intervals = union(intervals, interval)
    return intervals


def numbers(intervals: Iterable[Interval]) -> set[int]:
    return {number for low, high in intervals for number in range(low, high + 1)}


def is_canonical(intervals: Intervals) -> bool:
    """Return whether intervals are not empty, in ascending order, and neither overlap nor touch."""
    is_apart = all(upper[0] > lower[1] + 1 for lower, upper in pairwise(intervals))
    return is_apart and all(low <= high for low, high in intervals)


@given(added_intervals)
def test_union_contains_the_same_numbers_as_a_set(added: list[Interval]) -> None:
    intervals = union_of(added)
    assert numbers(intervals) == numbers(added)
    assert is_canonical(intervals)


@given(added_intervals, single_intervals)
def test_subtract_removes_the_same_numbers_as_from_a_set(added: list[Interval], removed: Interval) -> None:
    intervals = subtract(union_of(added), removed)
    assert numbers(intervals) == numbers(added) - numbers([removed])
    assert is_canonical(intervals)


@given(added_intervals, st.integers(0, 80))
def test_contains_is_membership_in_a_set(added: list[Interval], number: int) -> None:
    assert contains(union_of(added), number) == (number in numbers(added))


@given(added_intervals, st.integers(0, 80), st.integers(0, 80))
def test_gaps_are_the_missing_numbers(added: list[Interval], above: int, below: int) -> None:
    missing = list(gaps(union_of(added), above=above, below=below))
    assert missing == sorted(missing)
    assert all(low <= high for low, high in missing)
    assert numbers(missing) == set(range(above + 1, below)) - numbers(added)
