"""The SQL of coverage: which numbers of a suite, or of a branch, need not be read again."""

from __future__ import annotations

from datetime import UTC, datetime

from .coverage import Coverage
from .file import DatabaseFile
from .intervals import Interval
from .rows import to_sql, to_time


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
