"""The schema of the database; sessions, and other values, as they are stored."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import attrs

from .._decoding.converter import session_from_dict, to_dict
from .._decoding.hooks import fields_of, unstructure_time
from ..errors import DecodeError
from ..models import CIProvider, Member, RefType, Session, SessionStatus

_T = TypeVar("_T")

VERSION = 2
"""Of the schema: a change of `SCHEMA` increases it, and needs a function in `migrations`."""

FIELDS = tuple(field.name for field in attrs.fields(Session))
"""The fields of a session: the columns of `session_rows` and of the view `sessions`, in this order."""

# A duration has no type, so that SQLite does not convert whole numbers and fractions into each other.
_COLUMN_TYPES = {
    **dict.fromkeys(fields_of(Session, int, Member), "INTEGER"),
    **dict.fromkeys(fields_of(Session, float), ""),
}
_COLUMNS = ", ".join(
    f"{field.name} {_COLUMN_TYPES.get(field.name, 'TEXT')}" + (" NOT NULL" if field.default is attrs.NOTHING else "")
    for field in attrs.fields(Session)
)

# The SQL of views uses only functions that DuckDB has, too: it reads a view by executing its SQL itself. It reads all
# values as text, so `typeof` is no help there.
_CASE_ID = "coalesce(each.id, tests.id)"

_UNRESERVED = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~"
"""The characters of an id that are not encoded in a URL."""

_CASE_URL = f"""
    CASE WHEN each.status IN ('FAILED', 'ERROR') THEN each.url
    WHEN trim({_CASE_ID} || case_groups.id, '{_UNRESERVED}') = ''
    THEN sessions.url || '/test-groups/' || case_groups.id || '/cases/' || {_CASE_ID} END
"""

CASE_SQL = {
    "id": _CASE_ID,
    "name": "tests.name",
    "status": "coalesce(each.status, 'PASSED')",
    "url": _CASE_URL,
    "html_url": "CASE WHEN each.status IN ('FAILED', 'ERROR') THEN each.html_url ELSE sessions.html_url END",
    "test_group_name": "tests.test_group_name",
    "test_group_id": "case_groups.id",
    "classname": "tests.classname",
    "time": "each.time",
    "data": "each.data",
}
"""The fields of a test case, as SQL for the tables of `CASES`.

The URLs are those of the API for a failing case. For another one, they follow from its session and its ids. `url` is
null if an id has characters that are encoded in a URL.
"""

IS_TEST = """
    tests.name = ? AND ifnull(tests.classname, 0) = ifnull(?, 0)
    AND ifnull(tests.test_group_name, 0) = ifnull(?, 0)
"""
"""The condition for a test of a suite. Its parameters are the name, the class and the group."""

SESSION_SQL = ", ".join(
    "members.member AS created_by" if name == "created_by" else f"sessions.{name} AS {name}" for name in FIELDS
)
"""The fields of a session, as SQL for the tables of `SESSIONS`."""

_SESSIONS = """
    suite_rows AS suites JOIN session_rows AS sessions ON sessions.suite = suites.number
    LEFT JOIN members ON members.number = sessions.created_by
"""
SESSIONS = f"{_SESSIONS} LEFT JOIN case_reads ON case_reads.session = sessions.number"
"""The tables of all sessions, with their suites, and what was read of their test cases."""

_BRANCH = "iif(ref_type = 'BRANCH', ifnull(ref_name, ''), '')"
OF_BRANCH = f"ifnull(?, {_BRANCH}) = {_BRANCH}"
"""The condition for sessions of a branch, or all sessions if it is null. Its parameter is the name."""

OF_SUITE = "(workspace, project, suite_id) = (?, ?, ?)"
"""The condition for the rows of a suite. Its parameters are a `SuiteKey`."""

SUITE_NUMBER = f"(SELECT number FROM suite_rows WHERE {OF_SUITE})"
"""The number of a suite in other tables; null if it is not in the database. Its parameters are those of `OF_SUITE`."""

CASES = """
    suite_rows AS suites JOIN session_rows AS sessions ON sessions.suite = suites.number
    JOIN case_rows AS each ON each.session = sessions.number
    JOIN tests ON tests.number = each.test AND tests.suite = suites.number
    LEFT JOIN case_groups ON case_groups.session = each.session AND case_groups.number = each.test_group
"""
"""The tables of the test cases of all sessions."""

DAY = "substr(create_date, 1, 10)"
"""The day on which a session was created: an index has it."""

CREATED_BEFORE = f"{DAY} <= substr(:before, 1, 10) AND create_date < :before"
"""The condition for sessions that were created before a time, `:before`, which `time_to_prefix` returns."""

NEWEST_POSITION = """
    SELECT ifnull(max(newest), 0) FROM (
        SELECT max(position) AS newest FROM session_rows UNION ALL SELECT max(position) FROM suite_changes
    )
"""
"""The highest position in the file. It never decreases: what deletes sessions records a later change of their suite."""

SCHEMA = (
    # Internal: the rows of the view `sessions`, which has the names of the suite and the JSON of the member in place of
    # their numbers.
    f"""
    CREATE TABLE session_rows (
        number INTEGER PRIMARY KEY, suite INTEGER NOT NULL, {_COLUMNS},
        missing_since TEXT, deleted_at TEXT,
        -- internal: for an unfinished session, the time of the last sync that saved or requested it
        checked_at TEXT,
        -- internal: the position at which the session, its marks or its cases last changed
        position INTEGER NOT NULL,
        UNIQUE (suite, id)
    )
    """,
    "CREATE INDEX sessions_newest ON session_rows (suite, relative_id DESC, deleted_at)",
    "CREATE INDEX sessions_changed ON session_rows (position)",
    # Without IN, for which SQLite would create a temporary table with each row.
    """
    CREATE INDEX sessions_unfinished ON session_rows (suite, relative_id DESC)
        WHERE status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED' AND deleted_at IS NULL
    """,
    """
    CREATE INDEX sessions_missing ON session_rows (suite, relative_id DESC)
        WHERE missing_since IS NOT NULL AND deleted_at IS NULL
    """,
    # Descending, as a first sync inserts, and only the day: else it would be twice as large.
    f"CREATE INDEX sessions_age ON session_rows (suite, {DAY} DESC)",
    # Internal: when suites were last forgotten or pruned (`change` is forget or prune), for copies.
    """
    CREATE TABLE suite_changes (
        position INTEGER PRIMARY KEY, workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL,
        change TEXT NOT NULL, pruned_before TEXT,
        UNIQUE (workspace, project, suite_id, change)
    )
    """,
    # Internal: the members in `created_by`, each once, as JSON.
    "CREATE TABLE members (number INTEGER PRIMARY KEY, member TEXT NOT NULL UNIQUE)",
    f"""
    CREATE VIEW sessions AS SELECT suites.workspace, suites.project, suites.suite_id, {SESSION_SQL},
        sessions.missing_since, sessions.deleted_at
    FROM {_SESSIONS}
    """,
    # Internal: the rows of the view `suites`.
    """
    CREATE TABLE suite_rows (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL,
        name TEXT, identifier TEXT, html_url TEXT,
        missing_since TEXT, deleted_at TEXT,
        -- internal: the number in other tables; when the last sync began that has read the suite to its end; a
        -- `SuiteState` as JSON, null if the suite was only listed
        number INTEGER PRIMARY KEY, synced_at TEXT, state TEXT,
        UNIQUE (workspace, project, suite_id)
    )
    """,
    """
    CREATE VIEW suites AS
    SELECT workspace, project, suite_id, name, identifier, html_url, missing_since, deleted_at FROM suite_rows
    """,
    # The test cases of finished sessions: a session that changes loses them.
    f"""
    CREATE VIEW cases AS SELECT suites.workspace, suites.project, suites.suite_id, sessions.id AS session_id,
        {", ".join(f"{value} AS {name}" for name, value in CASE_SQL.items())}
    FROM {CASES}
    """,
    # Internal: the tests of a suite, each once. `id` is that of its first case.
    """
    CREATE TABLE tests (
        number INTEGER PRIMARY KEY, suite INTEGER NOT NULL, name TEXT NOT NULL, classname TEXT, test_group_name TEXT,
        id TEXT NOT NULL
    )
    """,
    # A number differs from every text; two nulls would not be equal.
    "CREATE UNIQUE INDEX tests_key ON tests (suite, name, ifnull(classname, 0), ifnull(test_group_name, 0))",
    # Internal: the result of a test in a session. `ordinal` is its index in the list of the session; `status` is null
    # for PASSED, `id` if it is the one in `tests`; the URLs are null unless the case fails. `time` has no type for the
    # same reason as `duration`.
    """
    CREATE TABLE case_rows (
        session INTEGER, test INTEGER, ordinal INTEGER, status TEXT, time, id TEXT, test_group INTEGER,
        url TEXT, html_url TEXT, data TEXT,
        PRIMARY KEY (session, test, ordinal)
    ) WITHOUT ROWID
    """,
    # Internal: the ids of the groups of a session, each once.
    """
    CREATE TABLE case_groups (session INTEGER, number INTEGER, id TEXT, PRIMARY KEY (session, number)) WITHOUT ROWID
    """,
    # Internal: the sessions whose cases were read since they last changed. `scope` (failed or all) is that of the last
    # complete read, null if there was none; `last_scope` is that of the last read; `is_verified` is false if something
    # was in doubt; `reads` counts the reads in that scope.
    """
    CREATE TABLE case_reads (
        session INTEGER PRIMARY KEY, scope TEXT, last_scope TEXT NOT NULL, is_verified INTEGER NOT NULL,
        reads INTEGER NOT NULL
    )
    """,
    # For the planner of queries to `cases`, which would read all of them: there are few suites, and of each suite more
    # tests than a session has. The second ANALYZE loads this.
    "ANALYZE sqlite_master",
    """
    INSERT INTO sqlite_stat1 VALUES
        ('suite_rows', 'sqlite_autoindex_suite_rows_1', '10 10 5 1'),
        ('tests', 'tests_key', '100000 10000 1 1 1'),
        ('case_rows', 'case_rows', '10000000 400 1 1')
    """,
    "ANALYZE sqlite_master",
    # Internal: when the suites of a project were last listed.
    """
    CREATE TABLE projects (
        workspace TEXT NOT NULL, project TEXT NOT NULL, listed_at TEXT NOT NULL, PRIMARY KEY (workspace, project)
    )
    """,
    # Internal: what the watches of a kind (changes or status) and name have seen of a suite, as JSON. The branch ""
    # means all sessions, and "*" means the main branch.
    """
    CREATE TABLE watches (
        kind TEXT NOT NULL, name TEXT NOT NULL, branch TEXT NOT NULL,
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, state TEXT NOT NULL,
        PRIMARY KEY (kind, name, branch, workspace, project, suite_id)
    )
    """,
)
"""The statements that create a file."""

APPLICATION_ID = 0x42756464
"""Identifies the files of this package: "Budd" in the header of the file. It never changes."""

APPLICATION_ID_1 = 0x42756F38
"""That of version 1."""

SessionValues = tuple[Any, ...]
"""The values of a session as they are stored, in the order of `FIELDS`."""

# The fields that are not stored as they are.
_TO_SQL: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(fields_of(Session, datetime), unstructure_time),
    **dict.fromkeys(fields_of(Session, SessionStatus, CIProvider, RefType), str),
}


def to_values(sessions: Collection[Session]) -> list[SessionValues]:
    """Return sessions as they are stored, in the order of `FIELDS`. Few members create many: each is converted once."""
    to_sql: dict[str, Callable[[Any], str]] = {
        **_TO_SQL,
        "created_by": cache(lambda member: json.dumps(to_dict(member))),
    }
    columns: list[Iterable[Any]] = []
    for name in FIELDS:
        column: Iterable[Any] = map(attrgetter(name), sessions)
        if convert_value := to_sql.get(name):
            column = [None if value is None else convert_value(value) for value in column]
        columns.append(column)
    return [*zip(*columns, strict=True)]


def keep_values(saved: SessionValues, values: SessionValues, names: Iterable[str]) -> SessionValues:
    """Return values with those of some fields, or of fields of nested objects, as they were saved."""
    kept = {name.partition(".")[0] for name in names}
    return tuple(old if name in kept else new for name, old, new in zip(FIELDS, saved, values, strict=True))


def to_sessions(rows: Iterable[Sequence[Any]]) -> list[Session]:
    """Return the sessions of rows that begin with their `FIELDS`. Raises `DecodeError` for an invalid value.

    Few members create many sessions: each is converted once.
    """
    members: dict[str | None, Member | None] = {}
    sessions: list[Session] = []
    for row in rows:
        fields = dict(zip(FIELDS, row, strict=False))
        text = fields["created_by"]
        if text is not None:
            fields["created_by"] = members.get(text) or convert(json.loads, text)
        sessions.append(session := session_from_dict(fields))
        members[text] = session.created_by
    return sessions


def to_time(text: Any) -> datetime | None:
    """Return a stored time in UTC; None for null. Raises `DecodeError` if it is not valid."""
    return None if text is None else convert(datetime.fromisoformat, text).astimezone(UTC)


def time_to_prefix(time: datetime) -> str:
    """Return a time in whole seconds as a text that sorts before each stored time that is not earlier."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def convert(function: Callable[[Any], _T], value: Any) -> _T:
    """Convert a stored value, which another program may have changed."""
    try:
        return function(value)
    except (TypeError, ValueError) as error:
        raise DecodeError(f"{value!r}: {error}") from error
