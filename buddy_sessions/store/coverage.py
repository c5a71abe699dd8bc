"""The coverage of a suite or a branch: which sync has claimed that the database has all sessions of a range."""

from __future__ import annotations

from datetime import UTC, datetime

from .evidence import PageChanges
from .file import DatabaseFile
from .intervals import Interval, Intervals, gaps, subtract, subtract_all, union, union_all
from .messages import PageToSave
from .rows import to_sql, to_time

Coverage = dict[int | None, Intervals]
"""The covered `relative_id`s by the sync that has claimed them; None for syncs that have completed, verified."""


def without(coverage: Coverage, sync: int) -> Intervals:
    """Return the `relative_id`s that other syncs have covered."""
    return union_all(intervals for owner, intervals in coverage.items() if owner != sync)


def change_coverage(
    before: Coverage, page: PageToSave, changes: PageChanges, *, is_overruled: bool = False
) -> Coverage:
    """Return the coverage after a page. It adds nothing if another sync has reduced the coverage since its request."""
    after = dict(before)
    if changes.dropped:
        after = {owner: subtract(intervals, changes.dropped) for owner, intervals in after.items()}
    claimed = None if is_overruled else page.claimed
    # Only if a `relative_id` is new, so that an unchanged page writes nothing.
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


def load_coverage(file: DatabaseFile, suite: int | None, branch: str | None = None) -> Coverage:
    """Return the coverage of a suite, or of a branch only."""
    coverage: dict[int | None, list[Interval]] = {}
    sql = "SELECT sync, low, high FROM covered WHERE suite = ? AND branch = ? ORDER BY low"
    for sync, low, high in file.execute(sql, (suite, to_sql(branch or ""))):
        coverage.setdefault(sync, []).append((low, high))
    return {sync: tuple(intervals) for sync, intervals in coverage.items()}


def save_coverage(file: DatabaseFile, suite: int | None, branch: str | None, before: Coverage, after: Coverage) -> None:
    """Save the ranges that have changed."""
    name = to_sql(branch or "")
    old = {(suite, name, sync, *interval) for sync, intervals in before.items() for interval in intervals}
    new = {(suite, name, sync, *interval) for sync, intervals in after.items() for interval in intervals}
    delete = "DELETE FROM covered WHERE suite = ? AND branch = ? AND sync IS ? AND low = ? AND high = ?"
    file.execute_many(delete, list(old - new))
    file.execute_many("INSERT INTO covered (suite, branch, sync, low, high) VALUES (?, ?, ?, ?, ?)", list(new - old))


def load_older(file: DatabaseFile, suite: int | None, branch: str | None = None) -> tuple[datetime, int] | None:
    """Return a time, and the highest `relative_id` of the sessions that were created before; None for none.

    What is known of the suite is known of each branch.
    """
    sql = "SELECT than, id FROM older WHERE suite = ? AND branch IN (?, '') ORDER BY branch DESC LIMIT 1"
    values = file.execute(sql, (suite, to_sql(branch or ""))).fetchone()
    if values is None or (than := to_time(values[0])) is None:
        return None
    return than, values[1]


def save_older(file: DatabaseFile, suite: int, branch: str | None, older: tuple[datetime, int] | None) -> None:
    """Save a time, and the highest `relative_id` of the sessions that were created before."""
    place = (suite, to_sql(branch or ""))
    if older is None:
        file.execute("DELETE FROM older WHERE suite = ? AND branch = ?", place)
    else:
        than = older[0].astimezone(UTC).isoformat()
        file.execute("INSERT OR REPLACE INTO older VALUES (?, ?, ?, ?)", (*place, than, older[1]))
