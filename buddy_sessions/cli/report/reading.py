"""Reads one suite from a database, and computes its statistics."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from buddy_sessions import SessionStatus, SessionStore, Suite, SuiteKey

from .case_statistics import WINDOW, CaseStatistics, compute_case_statistics
from .session_rows import AnySession, read_sessions
from .suite_statistics import SuiteStatistics, compute_statistics, is_recent

_MAX_RUNS = 100
"""The number of sessions whose failing tests are read, to find out since when a test has been failing."""


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


async def _read_cases(
    store: SessionStore, suite: SuiteKey, sessions: Sequence[AnySession], *, since: datetime | None
) -> CaseStatistics | None:
    """Return the statistics of the test cases of a suite; None if none were saved."""
    finished = [session for session in sessions if session.is_finished]
    is_failing = bool(finished) and finished[0].status == SessionStatus.ERROR
    failed_runs = await store.runs(suite, cases="failed", last=_MAX_RUNS if is_failing else 1)
    if not failed_runs:
        return None
    complete_runs = await store.runs(suite, cases="all", last=WINDOW)
    recent_runs = [run for run in complete_runs if is_recent(run.session, since)]
    return compute_case_statistics(finished, failed_runs, recent_runs)
