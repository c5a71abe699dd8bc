"""Sets of whole numbers as intervals `(low, high)`, both ends included. Pure.

The intervals of a set are in ascending order; they neither overlap nor touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import chain

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]


def union(intervals: Intervals, added: Interval) -> Intervals:
    """Add an interval to a set. Return the new set."""
    low, high = added
    below: list[Interval] = []
    above: list[Interval] = []
    for first, last in intervals:
        if last < low - 1:
            below.append((first, last))
        elif first > high + 1:
            above.append((first, last))
        else:
            low, high = min(low, first), max(high, last)
    return (*below, (low, high), *above)


def subtract(intervals: Intervals, removed: Interval) -> Intervals:
    """Remove an interval from a set. Return the new set."""
    low, high = removed
    remaining: list[Interval] = []
    for first, last in intervals:
        if first < low:
            remaining.append((first, min(last, low - 1)))
        if last > high:
            remaining.append((max(first, high + 1), last))
    return tuple(remaining)


def union_all(sets: Iterable[Intervals]) -> Intervals:
    """Return the union of several sets."""
    return reduce(union, chain.from_iterable(sets), ())


def subtract_all(intervals: Intervals, removed: Intervals) -> Intervals:
    """Return the difference of two sets."""
    return reduce(subtract, removed, intervals)


def gaps(intervals: Iterable[Interval], *, above: int, below: int) -> Iterator[Interval]:
    """Iterate over the intervals that a set lacks between `above` and `below`, both excluded, in ascending order."""
    low = above + 1
    for first, last in (*intervals, (below, below)):  # the last one ends the gap above the set
        high = min(first, below) - 1
        if low <= high:
            yield low, high
        low = max(low, last + 1)


def interval_at(intervals: Iterable[Interval], number: int) -> Interval | None:
    """Return the interval of a set that contains a number; None if the set does not."""
    return next(((low, high) for low, high in intervals if low <= number <= high), None)


def contains(intervals: Iterable[Interval], number: int) -> bool:
    """Return whether a number is in a set."""
    return interval_at(intervals, number) is not None
