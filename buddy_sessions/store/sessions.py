"""The SQL of the sessions and suites of a store that are read back, and of the names of suites."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ..models import Session, Suite, SuiteKey
from .evidence import ALL_NUMBERS
from .file import DatabaseFile
from .intervals import Interval, union_all
from .rows import FIELDS, OF_BRANCH, Members, branch_parameters, from_sql, to_session, to_sql
from .schema import NOW
from .thread import DatabaseThread

_PAGE_SIZE = 1000


def load_sessions(
    file: DatabaseFile, key: SuiteKey, *, branch: str | None = None, up_to: int = ALL_NUMBERS[1], limit: int = -1
) -> list[Session]:
    """Return the sessions of a suite that are not deleted, newest first: at most `limit`, up to a `relative_id`."""
    sql = f"""
        SELECT {", ".join(FIELDS)} FROM sessions
        WHERE workspace = ? AND project = ? AND suite_id = ? AND deleted_at IS NULL AND {OF_BRANCH}
        AND relative_id <= ? ORDER BY relative_id DESC LIMIT ?
    """
    members: Members = {}
    rows = file.execute(sql, (*key, *branch_parameters(branch), up_to, limit))
    return [to_session(row, members) for row in rows]


async def load_pages(thread: DatabaseThread, key: SuiteKey, *, branch: str | None) -> AsyncIterator[list[Session]]:
    """Iterate over the sessions of `load_sessions` in lists of up to `_PAGE_SIZE`."""
    last = ALL_NUMBERS[1]
    yielded = set[str]()  # the sessions with the `relative_id` `last`: after a wrong response, it may not be unique
    while True:
        limit = _PAGE_SIZE + len(yielded)
        sessions = await thread.run(load_sessions, key, branch=branch, up_to=last, limit=limit)
        page = [session for session in sessions if session.id not in yielded]
        if not page:
            return
        yield page
        last = page[-1].relative_id
        yielded = {session.id for session in sessions if session.relative_id == last}


def load_covered(file: DatabaseFile, key: SuiteKey) -> list[Interval]:
    """Return the ranges of `relative_id` of which the database contains every existing session."""
    sql = """
        SELECT low, high FROM covered JOIN suite_rows ON suite_rows.number = covered.suite
        WHERE workspace = ? AND project = ? AND suite_id = ? AND branch = ''
    """
    return list(union_all(((low, high),) for low, high in file.execute(sql, key)))


def load_suites(file: DatabaseFile) -> list[Suite]:
    """Return the suites that were synced, sorted by their keys."""
    columns = "workspace, project, suite_id, name, identifier, html_url"
    sql = f"SELECT {columns} FROM suite_rows WHERE is_synced ORDER BY 1, 2, 3"
    return [
        Suite(key=SuiteKey(*key), id=key[2], name=name, identifier=identifier, html_url=html_url)
        for *key, name, identifier, html_url in (map(from_sql, row) for row in file.execute(sql))
    ]


def is_listed(file: DatabaseFile, workspace: str, project: str) -> bool:
    """Return whether the suites of a project were listed within the last day. A time in the future does not count."""
    is_recent = "julianday('now') - julianday(listed_at) BETWEEN 0 AND 1"
    sql = f"SELECT 1 FROM projects WHERE workspace = ? AND project = ? AND {is_recent}"
    return file.execute(sql, (workspace, project)).fetchone() is not None


def save_names(file: DatabaseFile, workspace: str, project: str, suites: Sequence[Suite]) -> None:
    """Save the names of the suites of a project, and that they were listed now."""
    with file.transaction():
        file.execute(f"INSERT OR REPLACE INTO projects VALUES (?, ?, {NOW})", (workspace, project))
        file.execute_many(
            """
            INSERT INTO suite_rows (workspace, project, suite_id, name, identifier, html_url) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, project, suite_id) DO UPDATE
            SET (name, identifier, html_url) = (excluded.name, excluded.identifier, excluded.html_url)
            """,
            [
                tuple(map(to_sql, (workspace, project, suite.id, suite.name, suite.identifier, suite.html_url)))
                for suite in suites
            ],
        )
