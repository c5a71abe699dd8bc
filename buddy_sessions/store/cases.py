"""The SQL of the test cases of a store. Each function that writes is one transaction.

The saved cases of a session belong to its saved state: when a session changes, its cases are deleted, and read again by
the next sync that saves cases.
"""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, islice

from ..models import CaseScope, Session, SuiteKey, TestCase, TestKey, TestRun
from .file import DatabaseFile
from .messages import SyncScope
from .rows import (
    CASE_FIELDS,
    FIELDS,
    OF_BRANCH,
    Members,
    StoredId,
    branch_parameters,
    to_case,
    to_case_row,
    to_session,
    to_sql,
)

MAX_READS = 2
"""The number of times that the cases of a session are read if their number is not the one that the session counts."""

_COLUMNS = ", ".join(f"sessions.{name}" for name in FIELDS)
_CASE_COLUMNS = ", ".join(f"cases.{name}" for name in CASE_FIELDS)
_SUITE = "sessions.workspace = ? AND sessions.project = ? AND sessions.suite_id = ?"
_SESSION = "workspace = ? AND project = ? AND suite_id = ? AND session_id = ?"
_JOIN = """
    JOIN {table} ON {table}.workspace = sessions.workspace AND {table}.project = sessions.project
    AND {table}.suite_id = sessions.suite_id AND {table}.session_id = sessions.id
"""
_JOIN_CASES, _JOIN_READS = _JOIN.format(table="cases"), _JOIN.format(table="case_reads")
_IS_LIVE = "sessions.deleted_at IS NULL AND sessions.missing_since IS NULL"


def load_pending(file: DatabaseFile, key: SuiteKey, scope: SyncScope) -> list[Session]:
    """Return the finished sessions in scope whose cases were not read since they last changed, newest first."""
    sql = f"""
        SELECT {_COLUMNS} FROM sessions LEFT {_JOIN_READS}
        WHERE {_SUITE} AND {_IS_LIVE} AND relative_id > ?
        AND {OF_BRANCH}
        AND (last_scope IS NULL OR (last_scope = 'failed' AND ? = 'all')
             OR (is_verified = 0 AND last_scope = ? AND reads < {MAX_READS}))
        ORDER BY relative_id DESC
    """
    members: Members = {}
    rows = file.execute(sql, (*key, scope.after, *branch_parameters(scope.branch), scope.cases, scope.cases))
    sessions = [to_session(row, members) for row in rows]
    return [session for session in sessions if session.is_finished and scope.includes(session)]


def save_cases(
    file: DatabaseFile,
    key: SuiteKey,
    session: Session,
    scope: CaseScope,
    cases: Sequence[TestCase] | None,
    *,
    is_verified: bool,
) -> bool:
    """Save the cases of a session, in place of those from before, unless the session has changed meanwhile.

    `cases` is None if they cannot be read: then those from before are kept. They are read again if not `is_verified`.

    Returns:
        Whether the session has not changed.
    """
    row_key = (*key, to_sql(session.id))
    with file.transaction():
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE {_SUITE} AND id = ?"
        if [to_session(row, {}) for row in file.execute(sql, row_key)] != [session]:
            return False
        if cases is not None:
            file.execute(f"DELETE FROM cases WHERE {_SESSION}", row_key)
            file.execute_many(
                f"INSERT INTO cases VALUES (?, ?, ?, ?{', ?' * len(CASE_FIELDS)})",
                [(*row_key, *to_case_row(case)) for case in cases],
            )
        file.execute(
            """
            INSERT INTO case_reads VALUES (?, ?, ?, ?, ?, ?, ?, 1)
            ON CONFLICT (workspace, project, suite_id, session_id) DO UPDATE SET
            (scope, last_scope, is_verified, reads) = (coalesce(excluded.scope, scope), excluded.last_scope,
            excluded.is_verified, iif(last_scope = excluded.last_scope, reads + 1, 1))
            """,
            (*row_key, None if cases is None else scope, scope, is_verified),
        )
    return True


def forget_cases(file: DatabaseFile, key: SuiteKey, session_ids: Iterable[StoredId]) -> None:
    """Delete the cases of sessions that have changed. Called in the transaction that saves the change."""
    row_keys = [(*key, session_id) for session_id in session_ids]
    file.execute_many(f"DELETE FROM cases WHERE {_SESSION}", row_keys)
    file.execute_many(f"DELETE FROM case_reads WHERE {_SESSION}", row_keys)


def load_cases(file: DatabaseFile, key: SuiteKey, session_id: str) -> list[TestCase]:
    """Return the saved cases of a session, in the order of the API."""
    sql = f"SELECT {_CASE_COLUMNS} FROM cases WHERE {_SESSION} ORDER BY rowid"
    return [to_case(row) for row in file.execute(sql, (*key, to_sql(session_id)))]


def load_runs(
    file: DatabaseFile, key: SuiteKey, scope: CaseScope, *, branch: str | None, up_to: int | None, last: int | None
) -> list[TestRun]:
    """Return the newest sessions with a verdict whose cases were saved in a scope, with these cases, oldest first."""
    sql = f"""
        SELECT {_COLUMNS} FROM sessions {_JOIN_READS}
        WHERE {_SUITE} AND {_IS_LIVE} AND (scope = 'all' OR (scope = 'failed' AND ? = 'failed'))
        AND {OF_BRANCH} AND relative_id <= coalesce(?, relative_id) ORDER BY relative_id DESC
    """
    members: Members = {}
    rows = file.execute(sql, (*key, scope, *branch_parameters(branch), up_to))
    saved = (to_session(row, members) for row in rows)
    sessions = [*islice((session for session in saved if session.has_verdict), last)]
    status = "AND status IN ('FAILED', 'ERROR')" if scope == "failed" else ""
    sql = f"SELECT {_CASE_COLUMNS} FROM cases WHERE {_SESSION} {status} ORDER BY rowid"
    return [
        TestRun(session, tuple(to_case(row) for row in file.execute(sql, (*key, to_sql(session.id)))))
        for session in reversed(sessions)
    ]


def load_history(file: DatabaseFile, key: SuiteKey, test: TestKey, *, branch: str | None) -> list[TestRun]:
    """Return the sessions that contain a test, each with the cases of this test only, newest first."""
    sql = f"""
        SELECT {_COLUMNS}, {_CASE_COLUMNS} FROM sessions {_JOIN_CASES}
        WHERE {_SUITE} AND {_IS_LIVE}
        AND cases.name = ? AND cases.classname IS ? AND cases.test_group_name IS ? AND {OF_BRANCH}
        ORDER BY relative_id DESC, cases.rowid
    """
    parameters = (*key, to_sql(test.name), to_sql(test.classname), to_sql(test.group), *branch_parameters(branch))
    rows = file.execute(sql, parameters)
    members: Members = {}
    return [
        TestRun(to_session(session, members), tuple(to_case(row[len(FIELDS) :]) for row in group))
        for session, group in groupby(rows, key=_session_columns)
    ]


def _session_columns(row: Sequence[object]) -> Sequence[object]:
    return row[: len(FIELDS)]
