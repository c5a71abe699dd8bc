"""Sets of whole numbers as intervals `(low, high)`, both ends included. Pure.

The intervals of a set are in ascending order; they neither overlap nor touch.
"""

from __future__ import annotations

from collections.abc import Iterator

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


def gaps(intervals: Intervals, *, above: int, below: int) -> Iterator[Interval]:
    """Iterate over the intervals that a set lacks between `above` and `below`, both excluded, in ascending order."""
    low = above + 1
    for first, last in (*intervals, (below, below)):  # the last one ends the gap above the set
        high = min(first, below) - 1
        if low <= high:
            yield low, high
        low = max(low, last + 1)
