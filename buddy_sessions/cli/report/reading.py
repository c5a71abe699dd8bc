"""Reads one suite from a database, and computes its statistics."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from buddy_sessions import Session, SessionStore, StoreError, Suite, SuiteKey
from buddy_sessions.models import is_before

from .case_statistics import WINDOW, CaseStatistics, compute_case_statistics
from .suite_statistics import SuiteStatistics, compute_statistics

_MAX_RUNS = 100
"""The number of sessions whose failing tests are read, to find out since when a test has been failing."""

_FIELDS = (
    *("id", "relative_id", "status", "html_url", "create_date", "finish_date", "ref_type", "ref_name"),
    *("error_message", "duration", "tests_count", "failed_count", "skipped_count", "error_count", "created_by"),
)
"""The fields of a session that a report counts or shows."""

_SQL = f"""
    SELECT {", ".join(_FIELDS)} FROM sessions
    WHERE workspace = ? AND project = ? AND suite_id = ? AND deleted_at IS NULL ORDER BY relative_id DESC
"""  # noqa: S608 - the fields are constants


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads, to a file that a `SessionStore` has opened."""
    uri = path.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError:  # SQLite cannot create its files next to it, so nobody is writing
        connection.close()
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True)
    return connection


async def read_suite(
    store: SessionStore, connection: sqlite3.Connection, suite: Suite, *, since: datetime | None = None
) -> SuiteStatistics:
    """Return the statistics of a suite. Raises StoreError if the database cannot be read.

    Args:
        store: The database.
        connection: A connection to the same file.
        suite: The suite.
        since: Only sessions created at this time or later, and those without a date. What fails now may have begun to
            fail before.
    """
    sessions = read_sessions(connection, suite.key)
    cases = await _read_cases(store, suite.key, sessions, since=since)
    return compute_statistics(suite, sessions, since=since, cases=cases)


def read_sessions(connection: sqlite3.Connection, suite: SuiteKey) -> list[Session]:
    """Return the saved sessions of a suite, except deleted ones, newest first, with the fields that a report needs.

    Twice as fast as `SessionStore.sessions`. Raises StoreError if the file cannot be read, or if it contains an invalid
    session.
    """
    try:
        rows = connection.execute(_SQL, suite).fetchall()
        # A suite has many sessions, and few members.
        members = {text: text and json.loads(text) for text in {row[-1] for row in rows}}
        return _convert([dict(zip(_FIELDS, (*row[:-1], members[row[-1]]), strict=True)) for row in rows])
    except (sqlite3.Error, ValueError, msgspec.ValidationError) as error:
        raise StoreError(f"the saved sessions of {suite} cannot be read: {error}") from error


def _convert(rows: list[dict[str, Any]]) -> list[Session]:
    try:
        return msgspec.convert(rows, list[Session])
    except msgspec.ValidationError:  # a store saves text with a lone surrogate as a blob
        decoded = [{name: _decode(value) for name, value in row.items()} for row in rows]
        return msgspec.convert(decoded, list[Session])


def _decode(value: Any) -> Any:
    return value.decode(errors="surrogatepass") if type(value) is bytes else value


async def _read_cases(
    store: SessionStore, suite: SuiteKey, sessions: Sequence[Session], *, since: datetime | None
) -> CaseStatistics | None:
    """Return the statistics of the test cases of a suite; None if none were saved."""
    finished = [session for session in sessions if session.is_finished]
    is_failing = bool(finished) and finished[0].is_failing
    failed_runs = await store.runs(suite, cases="failed", last=_MAX_RUNS if is_failing else 1)
    if not failed_runs:
        return None
    complete_runs = await store.runs(suite, cases="all", last=WINDOW)
    recent_runs = [run for run in complete_runs if not is_before(run.session, since)]
    return compute_case_statistics(finished, failed_runs, recent_runs)
