"""The SQL that reads saved sessions."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator

from ..analysis.branches import MAIN_NAMES, NEWEST, main_branch
from ..analysis.completeness import find_judged_runs
from ..models import Session, SuiteKey
from .columns import OF_BRANCH, Members, to_session, to_sql
from .exchange import ALL_NUMBERS
from .file import DatabaseFile, DatabaseThread
from .schema import FIELDS, OF_SUITE

_FIRST_SIZE, _PAGE_SIZE = 100, 1000  # a verdict usually needs only the newest sessions

SESSION_COLUMNS = ", ".join(
    "members.member AS created_by" if name == "created_by" else f"sessions.{name} AS {name}" for name in FIELDS
)
"""The fields of a session, as SQL for the tables of `SESSIONS`."""

SESSIONS = """
    suite_rows AS suites JOIN session_rows AS sessions ON sessions.suite = suites.number
    LEFT JOIN members ON members.number = sessions.created_by
    LEFT JOIN case_reads ON case_reads.session = sessions.number
"""
"""The tables of all sessions, with their suites, and what was read of their test cases."""


def to_session_from(row: sqlite3.Row, members: Members) -> Session:
    """Return the session of a row that contains `SESSION_COLUMNS`, as `to_session` does."""
    return to_session([row[name] for name in FIELDS], members)


def load_sessions(
    file: DatabaseFile, key: SuiteKey, *, branch: str | None = None, up_to: int = ALL_NUMBERS[1], limit: int = -1
) -> list[Session]:
    """Return the sessions of a suite that are not deleted, newest first: at most `limit`, up to a `relative_id`."""
    sql = f"""
        SELECT {", ".join(FIELDS)} FROM sessions
        WHERE {OF_SUITE} AND deleted_at IS NULL AND {OF_BRANCH}
        AND relative_id <= ? ORDER BY relative_id DESC LIMIT ?
    """
    members: Members = {}
    rows = file.execute(sql, (*key, to_sql(branch), up_to, limit))
    return [to_session(row, members) for row in rows]


async def load_pages(
    thread: DatabaseThread, key: SuiteKey, *, branch: str | None
) -> AsyncGenerator[list[Session], None]:
    """Iterate over the sessions of `load_sessions` in lists of up to `_PAGE_SIZE`; the first one is shorter."""
    last, size = ALL_NUMBERS[1], _FIRST_SIZE
    yielded = set[str]()  # the sessions with the `relative_id` `last`: after a wrong response, it may not be unique
    while True:
        limit, size = size + len(yielded), _PAGE_SIZE
        sessions = await thread.run(load_sessions, key, branch=branch, up_to=last, limit=limit)
        page = [session for session in sessions if session.id not in yielded]
        if not page:
            return
        yield page
        last = page[-1].relative_id
        yielded = {session.id for session in sessions if session.relative_id == last}


def load_newest_ci_run(file: DatabaseFile, key: SuiteKey) -> list[Session]:
    """Return the sessions that decide whether a suite is red, of the newest CI run of its main branch."""
    older = [session for name in MAIN_NAMES for session in load_sessions(file, key, branch=name, limit=1)]
    newest = load_sessions(file, key, limit=NEWEST)
    branch = main_branch({session.id: session for session in [*newest, *older]}.values())
    for limit in (NEWEST, _PAGE_SIZE):
        sessions = [] if branch is None else load_sessions(file, key, branch=branch, limit=limit)
        if ci_runs := find_judged_runs(sessions, is_complete=len(sessions) < limit):
            return list(ci_runs[0].deciding)
    return []
