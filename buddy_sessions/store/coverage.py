"""The coverage of a suite or a branch: which sync has claimed that the database has all sessions of a range. Pure."""

from __future__ import annotations

from .evidence import PageChanges
from .intervals import Intervals, gaps, subtract, subtract_all, union, union_all
from .messages import PageToSave

Coverage = dict[int | None, Intervals]
"""The covered numbers by the number of the sync that has claimed it; None for syncs that have ended."""


def without(coverage: Coverage, sync: int) -> Intervals:
    """Return the numbers that are covered by others than a sync."""
    return union_all(intervals for owner, intervals in coverage.items() if owner != sync)


def change_coverage(
    before: Coverage, page: PageToSave, changes: PageChanges, *, is_overruled: bool = False
) -> Coverage:
    """Return the coverage after a page. It adds nothing if another sync has reduced the coverage since its request."""
    after = dict(before)
    if changes.dropped:
        after = {owner: subtract(intervals, changes.dropped) for owner, intervals in after.items()}
    claimed = None if is_overruled else page.claimed
    # Only if a number is new, so that an unchanged page writes nothing.
    if claimed is not None and any(gaps(union_all(after.values()), above=claimed[0] - 1, below=claimed[1] + 1)):
        after[page.sync] = union(after.get(page.sync, ()), claimed)
    for number in changes.to_read_again:
        after = {owner: subtract(intervals, (number, number)) for owner, intervals in after.items()}
    if page.withdraws_claims:
        after.pop(page.sync, None)
    return {owner: intervals for owner, intervals in after.items() if intervals}


def confirm(coverage: Coverage, sync: int) -> Coverage:
    """Return the coverage after a sync has completed, verified: its ranges are confirmed (owner None).

    Ranges of other, unfinished syncs are kept only where no confirmed range covers them.
    """
    confirmed = union_all([coverage.get(None, ()), coverage.get(sync, ())])
    after: Coverage = {None: confirmed}
    for owner, intervals in coverage.items():
        if owner not in {None, sync}:
            after[owner] = subtract_all(intervals, confirmed)
    return {owner: intervals for owner, intervals in after.items() if intervals}
