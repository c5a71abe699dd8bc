"""Deletes old sessions, or only their test cases, and returns their space to the file system.

What was pruned stays away: a suite notes the time before which its sessions, or their cases, were pruned, and no sync
saves an older one. So it acts as the `since` of each later sync, also of one that is running in another process.
"""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ..models import SuiteKey
from .coverage import save_older
from .file import BUSY_TIMEOUT, DatabaseFile
from .suite_rows import last_commit, load_suite_row, save_suite_row

_VACUUM_PAGES = 2_000
"""The number of pages that one call of `return_space` gives back: 8 MB."""

_PROBED_SESSIONS = 100
"""The number of sessions by which `is_prunable` decides."""

_OLD = "FROM session_rows WHERE suite = :suite AND create_date < :before"
# If the suite was created again, sessions of the deleted suite may not be marked yet, but they are not covered.
_IS_COVERED = """
    missing_since IS NULL AND deleted_at IS NULL AND EXISTS (
        SELECT 1 FROM covered WHERE suite = :suite AND branch = '' AND relative_id BETWEEN low AND high
    )
"""


def time_before(age: timedelta) -> datetime:
    """Return the time an age ago, in whole seconds."""
    return (datetime.now(UTC) - age).replace(microsecond=0)


def is_prunable(file: DatabaseFile, key: SuiteKey, before: datetime) -> bool:
    """Return whether one of the lowest `relative_id`s of a suite is that of a session created before a time.

    This takes the same time in a suite of any length. Sessions are numbered in the order in which they are created.
    """
    sql = f"""
        SELECT count(*) FROM (
            SELECT create_date FROM session_rows WHERE suite = ? ORDER BY relative_id LIMIT {_PROBED_SESSIONS}
        ) WHERE create_date < ?
    """
    return file.number(sql, (load_suite_row(file, key).number, _to_text(before))) > 0


def prune_suite(file: DatabaseFile, key: SuiteKey, before: datetime, *, cases_only: bool = False) -> int:
    """Delete the sessions created before a time, in whole seconds, or only their cases. Return their number.

    One transaction. A session without a date is kept.
    """
    with file.transaction():
        suite = load_suite_row(file, key)
        if suite.number is None:
            return 0
        old = {"suite": suite.number, "before": _to_text(before)}
        count = _delete_cases(file, old)
        if cases_only and count:
            save_suite_row(file, key, suite, suite._replace(cases_pruned_before=before.isoformat()))
        elif not cases_only:
            _drop_coverage(file, suite.number, old, before)
            count = file.execute(f"DELETE {_OLD}", old).rowcount
            if count:
                commit = last_commit(file) + 1
                file.execute("UPDATE commits SET number = ?", (commit,))
                # A page that was requested before must not add the sessions to the coverage again.
                after = suite._replace(pruned_before=before.isoformat(), invalidated_at=commit, invalidated_by=None)
                save_suite_row(file, key, suite, after)
    return count


def return_space(file: DatabaseFile) -> bool:
    """Give unused pages back to the file system. Return whether more remain.

    One call is short, so that other programs can write between two calls.
    """
    before = file.number("PRAGMA freelist_count")
    if before:
        file.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()  # each row is one page
    return 0 < file.number("PRAGMA freelist_count") < before


def shrink_file(file: DatabaseFile) -> None:
    """Copy the write-ahead log into the file, and shorten both. Does not wait for a program that is reading.

    Until that program has ended its transaction, SQLite keeps what it reads. A later commit shortens the file then.
    """
    file.execute("PRAGMA busy_timeout = 0")
    try:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        file.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")


def _delete_cases(file: DatabaseFile, old: Mapping[str, object]) -> int:
    """Delete the cases of old sessions. Return the number of sessions whose cases were read."""
    of_sessions = f"WHERE session IN (SELECT number {_OLD})"
    file.execute(f"DELETE FROM case_rows {of_sessions}", old)
    file.execute(f"DELETE FROM case_groups {of_sessions}", old)
    return file.execute(f"DELETE FROM case_reads {of_sessions}", old).rowcount


def _drop_coverage(file: DatabaseFile, suite: int, old: Mapping[str, object], before: datetime) -> None:
    """Remove the old sessions from the coverage, and save up to which `relative_id` all sessions are old."""
    highest = f"SELECT max(relative_id) {_OLD} AND"
    covered, proven = file.number(f"{highest} deleted_at IS NULL", old), file.number(f"{highest} {_IS_COVERED}", old)
    file.execute("DELETE FROM covered WHERE suite = ? AND high <= ?", (suite, covered))
    file.execute("UPDATE covered SET low = ? WHERE suite = ? AND low <= ?", (covered + 1, suite, covered))
    if proven:
        file.execute("DELETE FROM older WHERE suite = ?", (suite,))
        save_older(file, suite, None, (before, proven))


def _to_text(time: datetime) -> str:
    """Return a time in whole seconds as a text that sorts before each stored time that is not earlier."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
