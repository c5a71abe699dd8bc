"""The SQL of the test cases of a store. Each function that saves cases is one transaction.

The saved cases of a session belong to its saved state: when a session changes, its cases are deleted, and read again by
the next sync that saves cases.
"""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from attrs import evolve

from .._decoding.converter import case_from_dict
from ..analysis.by_test import find_test
from ..errors import ConfigError
from ..models import CaseScope, Session, SuiteKey, TestCase, TestKey, TestRun, TestStatus, is_before
from .columns import OF_BRANCH, Members, StoredId, from_sql, to_sql
from .exchange import SyncScope
from .file import DatabaseFile
from .schema import CASE_COLUMNS, CASES, IS_TEST, OF_SUITE
from .sessions import SESSION_COLUMNS, SESSIONS, to_session_from
from .suites import MARK_INCOMPLETE, load_state

MAX_READS = 4
"""The number of syncs that read the cases of a session if something is in doubt: the first one, and the next three."""

_IS_LIVE = "sessions.deleted_at IS NULL AND sessions.missing_since IS NULL"
_ALL_CASES = f"SELECT {', '.join(f'{value} AS {name}' for name, value in CASE_COLUMNS.items())} FROM {CASES}"
_CASES = f"{_ALL_CASES} WHERE {OF_SUITE} AND sessions.id = ?"
_IS_FAILING = "each.status IN ('FAILED', 'ERROR')"


def load_pending(file: DatabaseFile, key: SuiteKey, scope: SyncScope, *, full: bool = False) -> list[Session]:
    """Return the finished sessions in scope whose cases are to be read, newest first.

    These are the sessions whose cases were not read since the session last changed. Those whose cases are in doubt are
    read up to `MAX_READS` times. With `full`, all sessions.
    """
    sql = f"""
        SELECT {SESSION_COLUMNS} FROM {SESSIONS} WHERE {OF_SUITE} AND {_IS_LIVE} AND relative_id > ?
        AND {OF_BRANCH} AND (? OR last_scope IS NULL OR (last_scope = 'failed' AND ? = 'all')
             OR (NOT is_verified AND (last_scope = ? OR scope IS NULL) AND reads < {MAX_READS}))
        ORDER BY relative_id DESC
    """
    branch = to_sql(scope.cases_branch)
    rows = file.execute(sql, (*key, scope.after, branch, full, scope.cases, scope.cases))
    scope = scope.limit(_load_floor(file, key))
    return [session for session in _to_sessions(rows) if session.is_finished and scope.includes(session)]


def save_cases(
    file: DatabaseFile,
    key: SuiteKey,
    session: Session,
    scope: CaseScope,
    cases: Sequence[TestCase],
    *,
    is_complete: bool,
    is_verified: bool,
) -> bool:
    """Save the cases of a session, unless it was changed or pruned meanwhile. Return whether they were saved.

    `is_complete`: all pages were read. `is_verified`: nothing is in doubt. Otherwise, later syncs read the cases again,
    and saved cases that this read lacks stay. A case without `data` keeps the saved `data`, if its status is the same.
    """
    with file.transaction():
        sql = f"""
            SELECT {SESSION_COLUMNS}, sessions.suite, sessions.number, scope, last_scope, is_verified, reads
            FROM {SESSIONS} WHERE {OF_SUITE} AND sessions.id = ?
        """
        row = file.execute(sql, (*key, to_sql(session.id))).fetchone()
        if row is None or [*_to_sessions([row])] != [session] or is_before(session, _load_floor(file, key)):
            return False
        # The failing cases alone do not replace all cases.
        is_narrower = row["scope"] == "all" and scope == "failed"
        if row["last_scope"] is not None:
            before = load_cases(file, key, session.id)
            cases = _merge(before, cases, keep=is_narrower or not is_verified)
            _delete_cases(file, row["number"])
        _insert_cases(file, row["suite"], row["number"], cases)
        file.execute("UPDATE session_rows SET position = next_position() WHERE number = ?", (row["number"],))
        if not is_narrower:
            _save_read(file, row, scope, is_complete=is_complete, is_verified=is_verified)
    return True


def _save_read(file: DatabaseFile, row: sqlite3.Row, scope: CaseScope, *, is_complete: bool, is_verified: bool) -> None:
    """Save that the cases of a session were read. `row` is what `save_cases` selects."""
    is_again = row["is_verified"] == 0 and row["last_scope"] in (scope, "all")
    last_scope = "all" if is_again and not is_complete and row["last_scope"] == "all" else scope
    file.execute(
        "INSERT OR REPLACE INTO case_reads (session, scope, last_scope, is_verified, reads) VALUES (?, ?, ?, ?, ?)",
        (
            *(row["number"], scope if is_complete else row["scope"], last_scope),
            *(is_verified, row["reads"] + 1 if is_again else 1),
        ),
    )
    if not is_verified:  # the next sync reads them again, also if it finds the same first page
        file.execute(f"UPDATE suite_rows SET {MARK_INCOMPLETE} WHERE number = ?", (row["suite"],))


def _merge(before: Sequence[TestCase], cases: Sequence[TestCase], *, keep: bool) -> list[TestCase]:
    """Return the cases of a new read with `data` from the read before; with `keep`, also the other cases of that."""
    known = {(case.test_group_id, case.id): case for case in before}
    merged: list[TestCase] = []
    for case in cases:
        old = known.pop((case.test_group_id, case.id), case)
        is_lost = case.data is None and old.status == case.status
        merged.append(evolve(case, data=old.data) if is_lost else case)
    return merged + list(known.values()) if keep else merged


def _insert_cases(file: DatabaseFile, suite: int, session: int, cases: Sequence[TestCase]) -> None:
    """Insert the cases of a session, and what is not saved yet of their tests and groups."""
    groups = {group: number for number, group in enumerate({case.test_group_id: None for case in cases})}
    file.execute_many(
        "INSERT INTO case_groups VALUES (?, ?, ?)",
        [(session, number, to_sql(group)) for group, number in groups.items()],
    )
    ids = [to_sql(case.id) for case in cases]
    tests = [(suite, to_sql(case.name), to_sql(case.classname), to_sql(case.test_group_name)) for case in cases]
    file.execute_many(
        """
        INSERT INTO tests (suite, name, classname, test_group_name, id) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
        """,
        [(*test, id_) for test, id_ in zip(tests, ids, strict=True)],
    )
    file.execute_many(
        f"""
        INSERT INTO case_rows (session, position, status, time, id, test_group, url, html_url, data, test)
        SELECT ?, ?, ?, ?, nullif(?, id), ?, ?, ?, ?, number FROM tests WHERE suite = ? AND {IS_TEST}
        """,
        [
            (
                *(session, position, None if case.status == TestStatus.PASSED else to_sql(case.status.value)),
                *(case.time, id_, groups[case.test_group_id]),
                *((to_sql(case.url), to_sql(case.html_url)) if case.is_failing else (None, None)),
                *(to_sql(case.data), *test),
            )
            for position, (case, id_, test) in enumerate(zip(cases, ids, tests, strict=True))
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


def forget_unused_tests(file: DatabaseFile, suite: int) -> None:
    """Delete the names of the tests of a suite of which no case is saved. Called in the transaction that prunes it."""
    used = """
        SELECT case_rows.test FROM session_rows JOIN case_rows ON case_rows.session = session_rows.number
        WHERE session_rows.suite = ?
    """
    file.execute(f"DELETE FROM tests WHERE suite = ? AND number NOT IN ({used})", (suite, suite))


def _load_floor(file: DatabaseFile, key: SuiteKey) -> datetime | None:
    """Return the time before which the cases of a suite were pruned; None if they were not."""
    return load_state(file, key).cases_pruned_before


def load_cases(file: DatabaseFile, key: SuiteKey, session_id: str) -> list[TestCase]:
    """Return the saved cases of a session, in the order of the API."""
    rows = file.execute(f"{_CASES} ORDER BY each.position", (*key, to_sql(session_id)))
    return [_to_case(row) for row in rows]


def load_failures(file: DatabaseFile, session: int) -> tuple[TestCase, ...]:
    """Return the saved failing cases of a session, by the number of its row."""
    rows = file.execute(f"{_ALL_CASES} WHERE each.session = ? AND {_IS_FAILING} ORDER BY each.position", (session,))
    return tuple(map(_to_case, rows))


def load_runs(
    file: DatabaseFile, key: SuiteKey, scope: CaseScope, *, branch: str | None, up_to: int | None, last: int | None
) -> list[TestRun]:
    """Return the newest sessions with a verdict whose cases were saved in a scope, with these cases, oldest first."""
    sql = f"""
        SELECT {SESSION_COLUMNS} FROM {SESSIONS}
        WHERE {OF_SUITE} AND {_IS_LIVE} AND (scope = 'all' OR (scope = 'failed' AND ? = 'failed'))
        AND {OF_BRANCH} AND relative_id <= coalesce(?, relative_id) ORDER BY relative_id DESC
    """
    saved = _to_sessions(file.execute(sql, (*key, scope, to_sql(branch), up_to)))
    sessions = [*islice((session for session in saved if session.has_verdict), last)]
    if not sessions:
        _check_reads(file, key)
    if scope == "all" and not sessions and load_runs(file, key, "failed", branch=branch, up_to=up_to, last=1):
        raise ConfigError(
            f'only the failing test cases of {key} were saved: sync with cases="all" (sync --cases all), or read '
            'them with cases="failed"'
        )
    runs = _load_runs(file, key, reversed(sessions), f"AND {_IS_FAILING}" if scope == "failed" else "")
    return [evolve(run, scope=scope) for run in runs]


def load_history(file: DatabaseFile, key: SuiteKey, test: TestKey | str, *, branch: str | None) -> list[TestRun]:
    """Return the sessions of which it is known what a test did, each with the cases of this test only, newest first."""
    _check_reads(file, key)
    if isinstance(test, str):
        searched = "the tests in the database; sync --cases failed saves only those that have failed"
        test = find_test(_load_tests(file, key), test, searched=searched)
    sql = f"""
        SELECT {SESSION_COLUMNS}, scope FROM {SESSIONS} LEFT JOIN tests ON tests.suite = suites.number AND {IS_TEST}
        WHERE {OF_SUITE} AND {_IS_LIVE} AND {OF_BRANCH} AND (scope = 'failed'
            OR EXISTS (SELECT 1 FROM case_rows WHERE session = sessions.number AND test = tests.number))
        ORDER BY relative_id DESC
    """
    names = (to_sql(test.name), to_sql(test.classname), to_sql(test.group))
    rows = file.execute(sql, (*names, *key, to_sql(branch))).fetchall()
    runs = zip(rows, _load_runs(file, key, _to_sessions(rows), f"AND {IS_TEST}", names), strict=True)
    known = [evolve(run, scope="failed") if row["scope"] == "failed" else run for row, run in runs]
    return [run for run in known if run.cases or run.session.has_verdict]


def _load_tests(file: DatabaseFile, key: SuiteKey) -> Iterator[TestKey]:
    """Iterate over the tests of a suite of which cases are saved."""
    sql = f"""
        SELECT tests.test_group_name, tests.classname, tests.name
        FROM suite_rows AS suites JOIN tests ON tests.suite = suites.number WHERE {OF_SUITE}
    """
    return (TestKey(*map(from_sql, row)) for row in file.execute(sql, key))


def _check_reads(file: DatabaseFile, key: SuiteKey) -> None:
    """Raise ConfigError if a suite has sessions that passed or failed, but the cases of none were read."""
    sql = f"""
        SELECT count(*), count(last_scope) FROM {SESSIONS}
        WHERE {OF_SUITE} AND {_IS_LIVE} AND sessions.status IN ('SUCCESSFUL', 'ERROR')
    """
    sessions, reads = file.execute(sql, key).fetchone()
    if sessions and not reads:
        raise ConfigError(f'no test cases of {key} are saved: sync with cases="failed" or "all" (sync --cases)')


def _load_runs(
    file: DatabaseFile,
    key: SuiteKey,
    sessions: Iterable[Session],
    condition: str = "",
    parameters: Sequence[object] = (),
) -> list[TestRun]:
    """Return sessions with those of their cases that meet a condition, in the order of the API."""
    sql = f"{_CASES} {condition} ORDER BY each.position"
    return [
        TestRun(session, tuple(_to_case(row) for row in file.execute(sql, (*key, to_sql(session.id), *parameters))))
        for session in sessions
    ]


def _to_sessions(rows: Iterable[sqlite3.Row]) -> Iterator[Session]:
    """Iterate over the sessions of rows that contain `SESSION_COLUMNS`. Raise `DecodeError` for an invalid value."""
    members: Members = {}
    return (to_session_from(row, members) for row in rows)


def _to_case(row: sqlite3.Row) -> TestCase:
    """Return the test case of a row. Raise `DecodeError` for an invalid value."""
    return case_from_dict({name: from_sql(row[name]) for name in CASE_COLUMNS})
