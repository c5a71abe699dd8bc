"""The SQL that reads saved sessions."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from attrs import evolve

from ..analysis.branches import MAIN_NAMES, NEWEST, main_branch
from ..analysis.commits import SessionList
from ..analysis.suite_status import has_enough_commits, status_of
from ..models import Session, SuiteKey
from ..questions.suite_reader import MAX_SEARCHED
from .columns import OF_BRANCH, Members, to_session
from .exchange import ALL_NUMBERS
from .file import DatabaseFile, DatabaseThread
from .schema import FIELDS, OF_SUITE
from .suites import load_known_list

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
    rows = file.execute(sql, (*key, branch, up_to, limit))
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


def load_session(file: DatabaseFile, key: SuiteKey, name: int | str) -> Session | None:
    """Return the session with this `relative_id` or ID that is not deleted; None if there is none."""
    column = "relative_id" if isinstance(name, int) else "id"
    sql = f"SELECT {', '.join(FIELDS)} FROM sessions WHERE {OF_SUITE} AND deleted_at IS NULL AND {column} = ?"
    row = file.execute(sql, (*key, name)).fetchone()
    return None if row is None else to_session(row, {})


def load_deciding_sessions(file: DatabaseFile, key: SuiteKey) -> Sequence[Session]:
    """Return the sessions of the commit that says whether the main branch of a suite is red."""
    known = load_known_list(file, key)

    def load(branch: str | None, limit: int = NEWEST) -> SessionList:
        sessions = load_sessions(file, key, branch=branch, limit=limit)
        end = "cut" if len(sessions) == limit else known.end
        return SessionList(sessions=sessions, end=end, as_of=known.as_of or datetime.now(UTC))

    newest = load(None)
    older = [session for name in MAIN_NAMES for session in load_sessions(file, key, branch=name, limit=1)]
    name = main_branch({session.id: session for session in [*newest.sessions, *older]}.values())
    if name is None:
        return ()
    own = evolve(newest, sessions=[session for session in newest.sessions if session.branch == name])
    if not has_enough_commits(own):
        lists = (load(name, limit) for limit in range(NEWEST, MAX_SEARCHED + 1, NEWEST))
        own = next((each for each in lists if each.end != "cut" or len(each.commits) > 1), own)
    status = status_of(key, name, own)
    return status.commit.sessions if status.commit is not None else ()
