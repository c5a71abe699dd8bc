"""Sets of whole numbers as intervals `(low, high)`, both ends included: ascending, apart from each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]


def union(intervals: Iterable[Interval], added: Interval) -> Intervals:
    """Return `intervals` with the numbers of `added`. What overlaps, or touches, becomes one interval."""
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


def gaps(intervals: Intervals) -> Iterator[Interval]:
    """Iterate over what is missing between 1 and the highest number, from the top."""
    for number, (low, _) in reversed([*enumerate(intervals)]):
        before = intervals[number - 1][1] if number else 0
        if before + 1 < low:
            yield before + 1, low - 1


def contains(intervals: Intervals, number: int) -> bool:
    """Return whether one of the intervals holds `number`."""
    return any(low <= number <= high for low, high in intervals)
