"""Deletes old sessions with their test cases, or a whole suite, and returns their space to the file system.

What was pruned is not saved again: it is older than the limit of its suite.
"""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import evolve

from ..analysis.commits import Below
from ..models import SuiteKey
from .cases import delete_cases, forget_unused_tests
from .copies import record_forget, record_prune
from .file import DatabaseFile, DatabaseThread
from .saved_source import find_deciding_sessions
from .schema import CREATED_BEFORE, DAY, OF_SUITE, SUITE_NUMBER, time_to_prefix, to_time
from .suites import ALL_TIME, load_state, save_state

SAME_COMMIT = timedelta(days=1)
"""Sessions of one commit that were created within this time of each other are kept or deleted together."""

_EARLIEST, _LATEST = (
    f"strftime('%Y-%m-%dT%H:%M:%S', :before, '{distance.total_seconds()} seconds')"
    for distance in (-SAME_COMMIT, SAME_COMMIT)
)
_OLD = f"""
    FROM session_rows WHERE suite = :suite AND {CREATED_BEFORE}
    AND id NOT IN (SELECT value FROM json_each(:kept))
    AND NOT (create_date >= {_EARLIEST} AND ifnull(revision, '') IN (
        SELECT revision FROM session_rows WHERE suite = :suite AND revision <> ''
        AND {DAY} BETWEEN substr(:before, 1, 10) AND substr({_LATEST}, 1, 10)
        AND create_date BETWEEN :before AND {_LATEST}
    ))
"""
"""The sessions to delete. A commit is not parted: else its red session may be deleted, and a green one kept.

Sessions of one commit that were created more than a day apart are tests of their own, such as nightly ones.
"""


def load_newest_date(file: DatabaseFile) -> datetime | None:
    """Return the latest `create_date` in the file."""
    of_suite = "FROM session_rows WHERE suite = suite_rows.number"
    newest = f"SELECT max(create_date) {of_suite} AND {DAY} = (SELECT max({DAY}) {of_suite})"
    row = file.execute(f"SELECT max(newest) AS newest FROM (SELECT ({newest}) AS newest FROM suite_rows)").fetchone()
    return to_time(row["newest"])


def time_before(age: timedelta, now: datetime, *others: datetime | None) -> datetime:
    """Return the time that was an age ago, in whole seconds.

    With a clock that is ahead, everything would be deleted. So the age is counted from the earliest of `now` and the
    `others`: when the newest session was created, and the server's time.
    """
    try:
        return (min(filter(None, (now, *others))) - age).replace(microsecond=0)
    except OverflowError:  # a date of the year 1 is the zero of some programs
        return ALL_TIME


async def prune_suite(thread: DatabaseThread, key: SuiteKey, before: datetime) -> int:
    """Delete the sessions created before a time, in whole seconds, while the suite is locked. Return their number."""
    suite = await thread.run(DatabaseFile.number, f"SELECT {SUITE_NUMBER}", key)
    old = {"suite": suite, "before": time_to_prefix(before), "kept": "[]"}
    if not await thread.run(DatabaseFile.number, f"SELECT EXISTS (SELECT 1 {_OLD})", old):
        return 0
    old["kept"] = json.dumps([session.id for session in await find_deciding_sessions(thread, key)])
    return await thread.run(_delete, key, suite, before, old)


def _delete(file: DatabaseFile, key: SuiteKey, suite: int, before: datetime, old: Mapping[str, object]) -> int:
    """Delete sessions, in one transaction, and move the limit of the suite up. Return their number."""
    with file.transaction():
        delete_cases(file, _OLD, old)
        count = file.execute(f"DELETE {_OLD}", old).rowcount
        if count:
            state = load_state(file, key)
            limit, covered = max(before, state.limit or before), None
            if state.covered is not None:  # it ends at the lowest session that is not older
                where = "suite = ? AND relative_id BETWEEN ? AND ? AND create_date >= ?"
                sql = f"SELECT min(relative_id) FROM session_rows WHERE {where}"
                lowest = file.number(sql, (suite, *state.covered, time_to_prefix(limit)))
                covered = (lowest, state.covered[1]) if lowest else None
            below: Below = "more" if state.below == "more" else "limit"
            save_state(file, key, evolve(state, covered=covered, below=below, limit=limit))
            forget_unused_tests(file, suite)
            record_prune(file, key, suite, limit)
    return count


def return_space(file: DatabaseFile) -> None:
    """Give unused pages back to the file system. While a program is reading, a later commit shortens the file."""
    with file.transaction():
        for _ in range(file.number("PRAGMA freelist_count")):
            file.execute("PRAGMA incremental_vacuum")  # in Python, this gives back one page
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def forget_suite(file: DatabaseFile, key: SuiteKey) -> None:
    """Delete all rows of a suite, in one transaction. Does nothing if there are none."""
    with file.transaction():
        number = file.number(f"SELECT {SUITE_NUMBER}", key)
        delete_cases(file, "FROM session_rows WHERE suite = :suite", {"suite": number})
        for table in ("session_rows", "tests"):
            file.execute(f"DELETE FROM {table} WHERE suite = ?", (number,))
        if number:
            record_forget(file, key)
        for table in ("suite_rows", "watches"):
            file.execute(f"DELETE FROM {table} WHERE {OF_SUITE}", key)
