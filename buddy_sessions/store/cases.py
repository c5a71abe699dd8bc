"""The SQL of the test cases of a store. Each function that writes is one transaction.

The saved cases of a session belong to its saved state: when a session changes, its cases are deleted, and read again by
the next sync that saves cases.
"""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter

from ..models import CaseScope, Session, SuiteKey, TestCase, TestKey, TestRun, TestStatus, is_before
from .exchange import SyncScope
from .file import DatabaseFile
from .rows import (
    OF_BRANCH,
    Members,
    StoredId,
    branch_parameters,
    to_case,
    to_case_ids,
    to_session,
    to_sql,
    to_test_row,
)
from .schema import CASE_COLUMNS, CASES, FIELDS
from .suites import load_suite_row

MAX_READS = 2
"""The number of times that the cases of a session are read if their number is not the one that the session counts."""

_COLUMNS = ", ".join("member" if name == "created_by" else f"sessions.{name}" for name in FIELDS)
_CASE_COLUMNS = ", ".join(CASE_COLUMNS.values())
_SUITE = "suites.workspace = ? AND suites.project = ? AND suites.suite_id = ?"
_SESSIONS = """
    suite_rows AS suites JOIN session_rows AS sessions ON sessions.suite = suites.number
    LEFT JOIN members ON members.number = sessions.created_by
    LEFT JOIN case_reads ON case_reads.session = sessions.number
"""
_IS_LIVE = "sessions.deleted_at IS NULL AND sessions.missing_since IS NULL"
_CASES = f"SELECT {_CASE_COLUMNS} FROM {CASES} WHERE {_SUITE} AND sessions.id = ?"


def load_pending(file: DatabaseFile, key: SuiteKey, scope: SyncScope) -> list[Session]:
    """Return the finished sessions in scope whose cases were not read since they last changed, newest first."""
    sql = f"""
        SELECT {_COLUMNS} FROM {_SESSIONS} WHERE {_SUITE} AND {_IS_LIVE} AND relative_id > ?
        AND {OF_BRANCH}
        AND (last_scope IS NULL OR (last_scope = 'failed' AND ? = 'all')
             OR (is_verified = 0 AND last_scope = ? AND reads < {MAX_READS}))
        ORDER BY relative_id DESC
    """
    members: Members = {}
    rows = file.execute(sql, (*key, scope.after, *branch_parameters(scope.cases_branch), scope.cases, scope.cases))
    sessions = [to_session(row, members) for row in rows]
    scope = scope.limit(_load_floor(file, key))
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
    """Save the cases of a session, unless it was changed or pruned meanwhile. Return whether they were saved.

    `cases` is None if they cannot be read: then those from before are kept. They are read again if not `is_verified`.
    """
    with file.transaction():
        sql = f"SELECT {_COLUMNS}, sessions.suite, sessions.number FROM {_SESSIONS} WHERE {_SUITE} AND sessions.id = ?"
        row = file.execute(sql, (*key, to_sql(session.id))).fetchone()
        if row is None or to_session(row[:-2], {}) != session or is_before(session, _load_floor(file, key)):
            return False
        suite, number = row[-2:]
        if cases is not None:
            _delete_cases(file, number)
            _insert_cases(file, suite, number, session, cases)
        file.execute(
            """
            INSERT INTO case_reads VALUES (?, ?, ?, ?, 1) ON CONFLICT (session) DO UPDATE SET
            (scope, last_scope, is_verified, reads) = (coalesce(excluded.scope, scope), excluded.last_scope,
            excluded.is_verified, iif(last_scope = excluded.last_scope, reads + 1, 1))
            """,
            (number, None if cases is None else scope, scope, is_verified),
        )
    return True


def _insert_cases(file: DatabaseFile, suite: int, number: int, session: Session, cases: Sequence[TestCase]) -> None:
    """Insert the cases of a session, and what is not saved yet of their tests and groups."""
    tests = [to_test_row(suite, session, case) for case in cases]
    groups = {group: place for place, group in enumerate({case.test_group_id: None for case in cases})}
    group_rows = [(number, place, to_sql(group)) for group, place in groups.items()]
    file.execute_many("INSERT INTO case_groups VALUES (?, ?, ?)", group_rows)
    columns = "digest, suite, name, classname, test_group_name, id, has_markers, url, html_url"
    file.execute_many(f"INSERT INTO tests ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", tests)
    file.execute_many(
        "INSERT INTO case_rows VALUES (?, (SELECT number FROM tests WHERE digest = ?), ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(number, digest, position, None if case.status == TestStatus.PASSED else to_sql(case.status.value)),
                *(case.time, *to_case_ids(case)[:2], groups[case.test_group_id], to_sql(case.data)),
            )
            for position, (case, (digest, *_)) in enumerate(zip(cases, tests, strict=True))
        ],
    )


def _delete_cases(file: DatabaseFile, session: int) -> None:
    """Delete the cases of a session."""
    file.execute("DELETE FROM case_rows WHERE session = ?", (session,))
    file.execute("DELETE FROM case_groups WHERE session = ?", (session,))


def forget_cases(file: DatabaseFile, suite: int, session_ids: Iterable[StoredId]) -> None:
    """Delete the cases of sessions that have changed. Called in the transaction that saves the change."""
    sql = "DELETE FROM case_reads WHERE session = (SELECT number FROM session_rows WHERE suite = ? AND id = ?)"
    for session_id in session_ids:
        for (session,) in file.execute(f"{sql} RETURNING session", (suite, session_id)).fetchall():
            _delete_cases(file, session)


def _load_floor(file: DatabaseFile, key: SuiteKey) -> datetime | None:
    """Return the time before which the cases of a suite were pruned; None if they were not."""
    return load_suite_row(file, key).cases_pruned_before


def load_cases(file: DatabaseFile, key: SuiteKey, session_id: str) -> list[TestCase]:
    """Return the saved cases of a session, in the order of the API."""
    rows = file.execute(f"{_CASES} ORDER BY each.position", (*key, to_sql(session_id)))
    return [to_case(row) for row in rows]


def load_runs(
    file: DatabaseFile, key: SuiteKey, scope: CaseScope, *, branch: str | None, up_to: int | None, last: int | None
) -> list[TestRun]:
    """Return the newest sessions with a verdict whose cases were saved in a scope, with these cases, oldest first."""
    sql = f"""
        SELECT {_COLUMNS} FROM {_SESSIONS}
        WHERE {_SUITE} AND {_IS_LIVE} AND (scope = 'all' OR (scope = 'failed' AND ? = 'failed'))
        AND {OF_BRANCH} AND relative_id <= coalesce(?, relative_id) ORDER BY relative_id DESC
    """
    members: Members = {}
    rows = file.execute(sql, (*key, scope, *branch_parameters(branch), up_to))
    saved = (to_session(row, members) for row in rows)
    sessions = [*islice((session for session in saved if session.has_verdict), last)]
    status = "AND each.status IN ('FAILED', 'ERROR')" if scope == "failed" else ""
    sql = f"{_CASES} {status} ORDER BY each.position"
    return [
        TestRun(session, tuple(to_case(row) for row in file.execute(sql, (*key, to_sql(session.id)))))
        for session in reversed(sessions)
    ]


def load_history(file: DatabaseFile, key: SuiteKey, test: TestKey, *, branch: str | None) -> list[TestRun]:
    """Return the sessions that contain a test, each with the cases of this test only, newest first."""
    sql = f"""
        SELECT {_COLUMNS}, {_CASE_COLUMNS} FROM {CASES} LEFT JOIN members ON members.number = sessions.created_by
        WHERE {_SUITE} AND {_IS_LIVE}
        AND tests.name = ? AND tests.classname IS ? AND tests.test_group_name IS ? AND {OF_BRANCH}
        ORDER BY sessions.relative_id DESC, each.position
    """
    parameters = (*key, to_sql(test.name), to_sql(test.classname), to_sql(test.group), *branch_parameters(branch))
    rows = file.execute(sql, parameters)
    members: Members = {}
    return [
        TestRun(to_session(session, members), tuple(to_case(row[len(FIELDS) :]) for row in group))
        for session, group in groupby(rows, key=itemgetter(slice(len(FIELDS))))
    ]
