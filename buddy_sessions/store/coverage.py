"""The coverage of a suite: which sync has verified that a range of sessions is complete in the database. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .evidence import PageChanges
from .intervals import Interval, Intervals, gaps, subtract, union

Coverage = dict[int | None, Intervals]
"""The covered numbers by the number of the sync that has verified it; None for syncs that have ended."""


def union_all(sets: Iterable[Intervals]) -> Intervals:
    """Return the union of several sets."""
    result: Intervals = ()
    for intervals in sets:
        for interval in intervals:
            result = union(result, interval)
    return result


def change_coverage(before: Coverage, changes: PageChanges, claimed: Interval | None, sync: int) -> Coverage:
    """Return the coverage after a page of a sync.

    Args:
        before: The coverage before.
        changes: What the page proves.
        claimed: The range to add; None for none.
        sync: The number of the sync.
    """
    after = dict(before)
    if changes.dropped:
        after = {owner: subtract(intervals, changes.dropped) for owner, intervals in after.items()}
    # Only if a number is new, so that an unchanged page writes nothing.
    if claimed is not None and any(gaps(union_all(after.values()), above=claimed[0] - 1, below=claimed[1] + 1)):
        after[sync] = union(after.get(sync, ()), claimed)
    for number in changes.to_read_again:
        after = {owner: subtract(intervals, (number, number)) for owner, intervals in after.items()}
    return {owner: intervals for owner, intervals in after.items() if intervals}


def confirm(coverage: Coverage, sync: int) -> Coverage:
    """Return the coverage after a sync has completed, verified: its ranges become permanent (owner None).

    Ranges of other, unfinished syncs are kept only where no permanent range covers them.
    """
    confirmed = union_all([coverage.get(None, ()), coverage.get(sync, ())])
    after: Coverage = {None: confirmed}
    for owner, intervals in coverage.items():
        if owner not in {None, sync}:
            after[owner] = subtract_all(intervals, confirmed)
    return {owner: intervals for owner, intervals in after.items() if intervals}


def subtract_all(intervals: Intervals, removed: Intervals) -> Intervals:
    """Return the difference of two sets."""
    for interval in removed:
        intervals = subtract(intervals, interval)
    return intervals
