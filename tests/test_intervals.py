"""Intervals, held against sets of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.intervals import Interval, Intervals, contains, gaps, union

added = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda each: (each[0], each[0] + each[1])))


def numbers(intervals: Intervals | list[Interval]) -> set[int]:
    return {number for low, high in intervals for number in range(low, high + 1)}


@given(added)
def test_intervals_hold_what_a_set_would_hold_in_as_few_pieces_as_can_be(pieces: list[Interval]) -> None:
    intervals: Intervals = ()
    for piece in pieces:
        intervals = union(intervals, piece)
    assert numbers(intervals) == numbers(pieces)
    assert all(low <= high for low, high in intervals)
    assert all(upper[0] > lower[1] + 1 for lower, upper in pairwise(intervals))
    assert {number for number in range(80) if contains(intervals, number)} == numbers(pieces)


@given(added)
def test_gaps_are_what_is_missing_below_the_highest_number_from_the_top(pieces: list[Interval]) -> None:
    intervals: Intervals = ()
    for piece in pieces:
        intervals = union(intervals, piece)
    missing = list(gaps(intervals))
    assert missing == sorted(missing, reverse=True)
    assert numbers(missing) == set(range(1, max(numbers(pieces), default=0) + 1)) - numbers(pieces)
