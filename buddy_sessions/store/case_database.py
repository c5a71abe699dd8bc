"""The SQL of the test cases of a store. Each method that writes is one transaction."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from attrs import frozen

from ..models import CaseScope, Session, SuiteKey, TestCase, TestKey, TestRun
from .file import DatabaseFile
from .rows import CASE_FIELDS, FIELDS, Members, to_case, to_case_row, to_session, to_sql

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
_IS_FINISHED = """
    (status IN ('SUCCESSFUL', 'ERROR', 'SKIPPED') OR (status <> 'IN_PROGRESS' AND finish_date IS NOT NULL))
"""


@frozen
class PendingSession:
    """A finished session whose cases must be read.

    Attributes:
        session: The session.
        commit: The commit that has saved the session. The cases are read again when another one has changed it.
    """

    session: Session
    commit: int


class CaseDatabase(DatabaseFile):
    """The test cases in a SQLite file."""

    def pending_sessions(
        self, key: SuiteKey, scope: CaseScope, *, branch: str | None, after: int
    ) -> list[PendingSession]:
        """Return the finished sessions whose cases were not read in this scope since they last changed, newest first.

        Args:
            key: The suite.
            scope: The cases that are wanted.
            branch: Only sessions of this branch.
            after: Only sessions with a higher `relative_id`.
        """
        sql = f"""
            SELECT {_COLUMNS}, sessions.saved_in FROM sessions LEFT {_JOIN_READS}
            WHERE {_SUITE} AND {_IS_LIVE} AND {_IS_FINISHED} AND relative_id > ?
            AND (? IS NULL OR (ref_type = 'BRANCH' AND ref_name = ?))
            AND (commit_number IS NOT sessions.saved_in OR (scope = 'failed' AND ? = 'all')
                 OR (is_verified = 0 AND reads < {MAX_READS}))
            ORDER BY relative_id DESC
        """
        branch_name = to_sql(branch)
        parameters = (*key, after, branch_name, branch_name, scope)
        members: Members = {}
        return [PendingSession(to_session(row, members), commit) for *row, commit in self._execute(sql, parameters)]

    def save_cases(
        self,
        key: SuiteKey,
        pending: PendingSession,
        scope: CaseScope,
        cases: Sequence[TestCase] | None,
        *,
        is_verified: bool,
    ) -> None:
        """Save the cases of a session, in place of those that were saved before.

        Args:
            key: The suite.
            pending: The session.
            scope: Which cases these are.
            cases: The cases; None if the server does not know the session, so that those from before are kept.
            is_verified: Whether their number is the one that the session counts.
        """
        session = (*key, to_sql(pending.session.id))
        with self._transaction():
            if cases is not None:
                self._execute(f"DELETE FROM cases WHERE {_SESSION}", session)
                self._execute_many(
                    f"INSERT INTO cases VALUES (?, ?, ?, ?{', ?' * len(CASE_FIELDS)})",
                    [(*session, *to_case_row(case)) for case in cases],
                )
            self._execute(
                """
                INSERT INTO case_reads VALUES (?, ?, ?, ?, ?, ?, ?, 1)
                ON CONFLICT (workspace, project, suite_id, session_id) DO UPDATE SET
                (scope, commit_number, is_verified, reads) = (excluded.scope, excluded.commit_number,
                excluded.is_verified, iif(commit_number = excluded.commit_number, reads + 1, 1))
                """,
                (*session, scope, pending.commit, is_verified),
            )

    def cases(self, key: SuiteKey, session_id: str) -> list[TestCase]:
        """Return the saved cases of a session, in the order of the API."""
        sql = f"SELECT {_CASE_COLUMNS} FROM cases WHERE {_SESSION} ORDER BY rowid"
        return [to_case(row) for row in self._execute(sql, (*key, to_sql(session_id)))]

    def runs(self, key: SuiteKey, scope: CaseScope, *, branch: str | None, last: int | None) -> list[TestRun]:
        """Return the newest sessions whose cases were saved in a scope, with these cases, oldest first."""
        branch_name = to_sql(branch)
        sql = f"""
            SELECT {_COLUMNS} FROM sessions {_JOIN_READS}
            WHERE {_SUITE} AND {_IS_LIVE} AND (scope = 'all' OR ? = 'failed')
            AND (? IS NULL OR (ref_type = 'BRANCH' AND ref_name = ?)) ORDER BY relative_id DESC LIMIT ?
        """
        parameters = (*key, scope, branch_name, branch_name, -1 if last is None else last)
        members: Members = {}
        sessions = [to_session(row, members) for row in self._execute(sql, parameters)]
        status = "AND status IN ('FAILED', 'ERROR')" if scope == "failed" else ""
        sql = f"SELECT {_CASE_COLUMNS} FROM cases WHERE {_SESSION} {status} ORDER BY rowid"
        return [
            TestRun(session, tuple(to_case(row) for row in self._execute(sql, (*key, to_sql(session.id)))))
            for session in reversed(sessions)
        ]

    def history(self, key: SuiteKey, test: TestKey) -> list[TestRun]:
        """Return the sessions that contain a test, each with the cases of this test only, newest first."""
        sql = f"""
            SELECT {_COLUMNS}, {_CASE_COLUMNS} FROM sessions {_JOIN_CASES}
            WHERE {_SUITE} AND {_IS_LIVE}
            AND cases.name = ? AND cases.classname IS ? AND cases.test_group_name IS ?
            ORDER BY relative_id DESC, cases.rowid
        """
        parameters = (*key, to_sql(test.name), to_sql(test.classname), to_sql(test.group))
        rows = self._execute(sql, parameters)
        members: Members = {}
        return [
            TestRun(to_session(session, members), tuple(to_case(row[len(FIELDS) :]) for row in group))
            for session, group in groupby(rows, key=_session_columns)
        ]


def _session_columns(row: Sequence[object]) -> Sequence[object]:
    return row[: len(FIELDS)]
