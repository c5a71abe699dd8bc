"""The changes of a database since a position, so that a copy of it elsewhere can follow.

Each change of a session gives it a new position, higher than all others. What deletes sessions records one change of
their suite. So each position is that of one change, and only the last change of a session is kept.
"""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from attrs import frozen

from .._decoding.hooks import unstructure_time
from ..errors import StoreError
from ..models import Session, SuiteKey, TestCase
from .cases import load_failures
from .file import DatabaseFile, DatabaseThread
from .schema import (
    CREATED_BEFORE,
    NEWEST_POSITION,
    OF_SUITE,
    SESSION_SQL,
    SESSIONS,
    time_to_prefix,
    to_sessions,
    to_time,
)

_PAGE_SIZE = 100
"""Sessions in memory at once, with what their failing tests have uploaded."""
_PAGE_LENGTH = 8_000_000
"""Characters of that in memory at once, except for the last session."""


@frozen(kw_only=True)
class StoreChange:
    """A change that a copy of a database applies: a session, or one deletion in a suite.

    - With a `session`: replace it and its failing tests, or insert them.
    - Without: the suite was pruned, or, if `pruned_before` is None, removed by `forget`.

    Attributes:
        position: The position of this change: pass it as `after` to continue behind it. It only grows.
        suite: The suite.
        session: The session that was saved or marked, or whose test cases were saved; None for a deletion.
        failures: The failing tests of the session; None if its test cases are not saved.
        missing_since: When the first sync that did not find the session began; None if it was found.
        deleted_at: The same time, once a second sync did not find it.
        pruned_before: Delete the sessions of the suite whose `create_date` is earlier. Those that were kept follow.
    """

    position: int
    suite: SuiteKey
    session: Session | None = None
    failures: tuple[TestCase, ...] | None = None
    missing_since: datetime | None = None
    deleted_at: datetime | None = None
    pruned_before: datetime | None = None


async def iterate_changes(thread: DatabaseThread, after: int) -> AsyncIterator[StoreChange]:
    """Iterate over the changes after a position, until there are no more."""
    while changes := await thread.run(load_changes, after):
        for change in changes:
            yield change
        after = changes[-1].position


def load_changes(file: DatabaseFile, after: int) -> list[StoreChange]:
    """Return the next changes after a position, in their order; none if there are no more."""
    with file.begin("DEFERRED"):
        newest = file.number(NEWEST_POSITION)
        if after > newest:
            raise StoreError(
                f"{file.path} has no position {after}, its newest one is {newest}: it is not the file that was copied, "
                "or was restored from a backup; copy all of it again, from position 0"
            )
        sessions = _load_sessions(file, after)
        highest = sessions[-1].position if sessions else newest
        rows = file.execute("SELECT * FROM suite_changes WHERE position BETWEEN ? AND ?", (after + 1, highest))
        deletions = [
            StoreChange(position=position, suite=SuiteKey(*key), pruned_before=to_time(pruned_before))
            for position, *key, _, pruned_before in rows
        ]
        return sorted([*sessions, *deletions], key=lambda change: change.position)


def _load_sessions(file: DatabaseFile, after: int) -> list[StoreChange]:
    sql = f"""
        SELECT {SESSION_SQL}, suites.workspace, suites.project, suites.suite_id, sessions.missing_since,
            sessions.deleted_at, sessions.position, sessions.number, last_scope
        FROM {SESSIONS} WHERE sessions.number IN (
            SELECT number FROM session_rows WHERE position > ? ORDER BY position LIMIT {_PAGE_SIZE}
        ) ORDER BY sessions.position
    """
    rows = file.execute(sql, (after,)).fetchall()
    changes: list[StoreChange] = []
    length = 0
    for row, session in zip(rows, to_sessions(rows), strict=True):
        failures = None if row["last_scope"] is None else load_failures(file, row["number"])
        changes.append(
            StoreChange(
                position=row["position"],
                suite=SuiteKey(row["workspace"], row["project"], row["suite_id"]),
                session=session,
                failures=failures,
                missing_since=to_time(row["missing_since"]),
                deleted_at=to_time(row["deleted_at"]),
            )
        )
        length += sum(len(case.data or "") for case in failures or ())
        if length > _PAGE_LENGTH:
            break
    return changes


def record_prune(file: DatabaseFile, key: SuiteKey, suite: int, before: datetime) -> None:
    """Record up to when a suite was pruned. Called in the transaction that prunes it.

    A copy deletes all sessions from before that time. So those that are still saved change, too.
    """
    sql = "INSERT OR REPLACE INTO suite_changes VALUES (next_position(), ?, ?, ?, 'prune', ?)"
    file.execute(sql, (*key, unstructure_time(before)))
    sql = f"UPDATE session_rows SET position = next_position() WHERE suite = :suite AND {CREATED_BEFORE}"
    file.execute(sql, {"suite": suite, "before": time_to_prefix(before)})


def record_forget(file: DatabaseFile, key: SuiteKey) -> None:
    """Record that a suite was removed. Called in the transaction that removes it."""
    file.execute(f"DELETE FROM suite_changes WHERE {OF_SUITE}", key)
    file.execute("INSERT INTO suite_changes VALUES (next_position(), ?, ?, ?, 'forget', NULL)", key)
